"""Errors that the user can correct, and the one place that turns them into a single line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


class UserError(Exception):
    """A mistake in a flag, a config or a file. One line: what is wrong, where, what was expected, how to correct it."""

    def __init__(self, message: str) -> None:
        """Take the message; line breaks, which may come from names in files, become spaces."""
        super().__init__(" ".join(message.splitlines()))


def require(condition: bool, message: str) -> None:
    """Check ``condition``.

    Raises:
        UserError: ``condition`` is false; the text is ``message``.
    """
    if not condition:
        raise UserError(message)


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
        raise UserError(f"unknown {kind} '{name}'; known: {', '.join(sorted(table))}")
    return table[name]


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command's ``main`` and exit with its code; a ``UserError`` becomes one line on stderr and exit code 1."""
    try:
        code = main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
