"""Errors that the user can correct, and the one place that turns them into a single line and an exit code."""

from __future__ import annotations

import difflib
import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TypeVar

from common import interrupts
from common.stop_signals import Terminated, unwinding_on
from common.thread_starts import NO_THREAD, end_on_failed_start

T = TypeVar("T")


_LONGEST = 4000  # characters of a message; all names of settings are 2,600
_HEAD, _TAIL = 3000, 600  # those that stay of a longer one, which quotes a file
_SHOWN = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


class UserError(Exception):
    """Mistakes in flags, a config or a file, one line each: what is wrong, where, what was expected, what to do."""

    def __init__(self, *messages: str) -> None:
        """Take the messages; line breaks in one, which may come from names in files, become spaces.

        Other control characters, which a terminal would obey, are shown by their numbers, and the middle of a message
        that quotes very much of a file is left out.
        """
        lines = (_without_middle(" ".join(message.splitlines())) for message in messages)
        super().__init__("\n".join(line.translate(_SHOWN) for line in lines))


def _without_middle(line: str) -> str:
    if len(line) <= _LONGEST:
        return line
    return f"{line[:_HEAD]} ... ({len(line) - _HEAD - _TAIL} more characters) ... {line[-_TAIL:]}"


def require(condition: bool, message: str) -> None:
    """Check ``condition``.

    Raises:
        UserError: ``condition`` is false; the text is ``message``.
    """
    if not condition:
        raise UserError(message)


@contextmanager
def collecting(messages: list[str]) -> Iterator[None]:
    """Add the lines of a ``UserError`` that is raised inside to ``messages``, so that all are raised together later."""
    try:
        yield
    except UserError as error:
        messages += str(error).splitlines()


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


ADVICE = {  # by the number of an OSError
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room, or have the quota raised",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "choose another place",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "the system has too many open files",
    errno.ENOMEM: "give the command more memory",
    errno.EAGAIN: "memory or the number of processes (ulimit -u) is short",
    errno.EIO: "check the disk",
}
_OF_LIBRARIES = (RuntimeError, ImportError, OSError)
_NO_MEMORY = ("bad_alloc", "failed to map segment from shared object")
_NO_THREAD = ("can't start new thread", "can't allocate lock")  # Python's messages, without a class of their own


def describe_failure(error: BaseException) -> str | None:
    """Return the message, a line for each mistake, of an error that is not one of the program.

    These are mistakes of the user, files that the system refuses, and memory, threads, descriptors or disk space that
    ran out. For any other error the result is None.
    """
    if isinstance(error, UserError):
        return str(error)
    text = str(error)
    if isinstance(error, MemoryError) or (isinstance(error, _OF_LIBRARIES) and any(m in text for m in _NO_MEMORY)):
        return "memory ran out; use smaller batches or fewer --num_workers, or give the command more memory"
    if isinstance(error, RuntimeError) and text in _NO_THREAD:
        return NO_THREAD
    if isinstance(error, OSError) and (error.filename is not None or error.errno in ADVICE):
        place = "" if error.filename is None else f"{error.filename!s}: "
        advice = ADVICE.get(error.errno, "check the path and its permissions")
        return str(UserError(f"{place}{error.strerror}; {advice}"))
    return None


def run_command(main: Callable[[], int | None]) -> None:
    """Run a command's ``main`` and exit with its code.

    A ``UserError`` becomes its lines on stderr and exit code 1, and so does what ``describe_failure`` knows. Ctrl-C,
    SIGTERM and SIGHUP unwind the stack, so that temporary files are removed. A reader of the output that ends early,
    such as ``head``, ends the command quietly. Names that are not UTF-8, or not in the terminal's encoding, are printed
    with escapes.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    is_command = False
    try:
        is_command = interrupts.raise_on_interrupt()
        with unwinding_on(signal.SIGTERM, signal.SIGHUP):
            end_on_failed_start(2, f"error: {NO_THREAD}\n".encode())  # within, which puts the hook back at its end
            code = main() or 0
        sys.stdout.flush()
    except BrokenPipeError:
        if not _stdout_is_broken():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at exit
        code = 1
    except Exception as error:
        text = describe_failure(error)
        if text is None:
            raise
        for line in text.splitlines():
            print(f"error: {line}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        print(interrupts.MESSAGE, file=sys.stderr)
        code = interrupts.EXIT_CODE
    except Terminated as stop:
        print(f"ended by {stop}", file=sys.stderr)
        code = 128 + signal.Signals[str(stop)]
    if is_command:  # not where another program calls this
        interrupts.end_at_once_on_interrupt()
    sys.exit(code)


def _stdout_is_broken() -> bool:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
