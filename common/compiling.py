"""Building native code on first use: finding tools, running them, and building once for all processes."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from common.errors import UserError
from common.files import atomic_directory

Tools = TypeVar("Tools")


class NativeUnavailableError(Exception):
    """Native code cannot be built or loaded here; the message says why and what would help."""


def locate_program(names: Sequence[str], kind: str) -> str:
    """Return the path of the first of ``names`` that is in PATH.

    Raises:
        NativeUnavailableError: none of them is in PATH; the message calls them ``kind``, say "C compiler (gcc)".
    """
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    raise NativeUnavailableError(f"no {kind} in PATH")


def run_tool(command: Sequence[str]) -> str:
    """Run a compiler or a similar tool and return its output.

    Raises:
        NativeUnavailableError: the tool failed; the message holds its first error.
    """
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if "error" in line] or result.stderr.splitlines()
        raise NativeUnavailableError(f"{Path(command[0]).name} failed: {lines[0] if lines else result.returncode}")
    return result.stdout


def build_once(key: str, cache: Path, locate_tools: Callable[[], Tools], build: Callable[[Tools, Path], None]) -> Path:
    """Return the folder ``cache/key``, which ``build`` has filled, now or in an earlier run.

    Processes that start together wait for the first; the folder is complete or absent.

    Args:
        key: names everything that the contents depend on.
        cache: folder of built code; created if needed.
        locate_tools: looks for the compiler; called before anything is written, and not at all for an existing folder.
        build: writes the files, given the tools and an empty folder that becomes ``cache/key``.

    Raises:
        NativeUnavailableError: ``locate_tools`` or ``build`` raised it, or ``cache`` cannot be written.
    """
    folder = cache / key
    if folder.is_dir():
        return folder
    tools = locate_tools()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / "lock"):
            if not folder.is_dir():
                with atomic_directory(folder) as temporary:
                    build(tools, temporary)
    except OSError as error:
        raise NativeUnavailableError(f"cannot write {cache}: {error.strerror or error}") from error
    except UserError as error:
        raise NativeUnavailableError(str(error)) from error
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path``; the end of the process releases it too."""
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
