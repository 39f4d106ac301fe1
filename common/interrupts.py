"""Ctrl-C before and after the work of a command, which ``common.errors.run_command`` does not handle."""

from __future__ import annotations

import _signal as signal  # signal itself takes longer to import than all of this, for its enumerations
import os

EXIT_CODE = 128 + signal.SIGINT  # what shells expect after Ctrl-C
MESSAGE = "interrupted"


def end_on_interrupt(module: str) -> None:
    """Make Ctrl-C end this process with a line and ``EXIT_CODE`` until ``raise_on_interrupt`` is called.

    A KeyboardInterrupt within an import ends in Python's traceback, or a library swallows it. Commands call this with
    their ``__name__`` before they import anything that takes long. Nothing happens where the module is not the command
    (tests import it), or where SIGINT is ignored (``command &`` in a script).
    """
    if module == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def raise_on_interrupt() -> bool:
    """Make Ctrl-C raise KeyboardInterrupt again, so that temporary files are removed.

    Returns:
        Whether this process is a command that began with ``end_on_interrupt``.
    """
    is_command = signal.getsignal(signal.SIGINT) is _end
    if is_command:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return is_command


def end_at_once_on_interrupt() -> None:
    """Make Ctrl-C end this process without a word, once its work is done and its libraries end theirs.

    A KeyboardInterrupt within a destructor would be Python's traceback.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end(number: int, frame: object) -> None:
    os.write(2, f"{MESSAGE}\n".encode())
    os._exit(EXIT_CODE)  # nothing was begun that would have to be undone
