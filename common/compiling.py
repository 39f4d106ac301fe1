"""What building native code on first use has in common: finding tools, running them, doing it in one process only."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class NativeUnavailableError(Exception):
    """Native code cannot be built or loaded here; the message says why and what would help."""


def find_program(names: Sequence[str], kind: str) -> str:
    """Return the path of the first of ``names`` that is in PATH.

    Raises:
        NativeUnavailableError: none is; ``kind`` is what they are called in the message ("C compiler (gcc)").
    """
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    raise NativeUnavailableError(f"no {kind} in PATH")


def run_tool(command: Sequence[str]) -> str:
    """Run a compiler or a tool like it and return what it printed.

    Raises:
        NativeUnavailableError: it failed; the message holds its first error.
    """
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if "error" in line] or result.stderr.splitlines()
        raise NativeUnavailableError(f"{Path(command[0]).name} failed: {lines[0] if lines else result.returncode}")
    return result.stdout


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path``; it also ends with the process."""
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
