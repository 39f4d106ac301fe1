"""Errors that the user can correct, and the one place that turns them into a single line and an exit code."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class UserError(Exception):
    """Mistakes in flags, a config or a file, one line each: what is wrong, where, what was expected, what to do."""

    def __init__(self, *messages: str) -> None:
        """Take the messages; line breaks in one, which may come from names in files, become spaces."""
        super().__init__("\n".join(" ".join(message.splitlines()) for message in messages))


def require(condition: bool, message: str) -> None:
    """Check ``condition``.

    Raises:
        UserError: ``condition`` is false; the text is ``message``.
    """
    if not condition:
        raise UserError(message)


def shorten(messages: Sequence[str], what: str, limit: int = 20) -> list[str]:
    """Return the first ``limit`` messages; a last line counts the others, if any: ``... and 7 more bad images``."""
    more = len(messages) - limit
    return [*messages[:limit], *([f"... and {more} more {what}"] if more > 0 else [])]


def nearest(name: object, known: Iterable[object]) -> str:
    """Return a hint at the known name that is most like ``name``, for the end of a message; empty if none is."""
    found = difflib.get_close_matches(str(name).lower(), [str(each) for each in known], 1)
    return f"; did you mean '{found[0]}'?" if found else ""


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return ``table[name]``.

    Args:
        table: entries by name.
        name: the name to look up.
        kind: the kind of entry for the message, such as "network".

    Raises:
        UserError: the name is unknown; the message lists the known names.
    """
    if name not in table:
        raise UserError(f"unknown {kind} '{name}'; known: {', '.join(sorted(table))}{nearest(name, table)}")
    return table[name]


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command's ``main`` and exit with its code; a ``UserError`` becomes its lines on stderr and exit code 1."""
    try:
        code = main() or 0
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
