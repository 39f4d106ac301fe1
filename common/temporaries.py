"""Temporary files and folders beside a target, locked while their writer lives, so that leftovers can be told.

The number of a process does not tell whether it lives: another machine that shares the folder has its own processes. So
a name holds the machine too, and only what this machine left and no process holds is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import re
import shutil
import socket
import sys
import zlib
from pathlib import Path

from common.errors import UserError


def temporary_path(path: Path) -> Path:
    """Return the temporary name of ``path`` for this process.

    Raises:
        UserError: ``path`` has no name, such as ``/``.
    """
    if not path.name:
        raise UserError(f"'{path}' is not the name of a file or folder to write; choose another path")
    return path.with_name(f".{path.name}.tmp-{os.getpid()}-{_machine()}")


def _machine() -> str:
    return f"{zlib.crc32(socket.gethostname().encode(errors='surrogateescape')):08x}"


def create_temporary(temporary: Path, path: Path, folder: bool) -> int:
    """Create the temporary file or folder of ``path`` and return a descriptor, which holds its lock until it is closed.

    What killed commands left of ``path`` is removed first.

    Raises:
        OSError: it cannot be created.
    """
    remove_abandoned(path)
    while True:
        if folder:
            temporary.mkdir()
            descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        else:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with contextlib.suppress(OSError):  # a file system without locks, where leftovers stay
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), temporary.stat()):
                return descriptor
        os.close(descriptor)  # another command removed it before it was locked


def remove_abandoned(path: Path) -> None:
    """Remove the temporary files and folders of ``path`` whose writer on this machine was killed.

    What may belong to another machine, or cannot be removed, stays; a line on stderr names it.
    """
    ours = re.compile(re.escape(f".{path.name}.tmp-") + rf"\d+-{_machine()}")
    for left in path.parent.glob(f".{glob.escape(path.name)}.tmp-*"):
        try:
            if ours.fullmatch(left.name) is None:
                raise OSError("it may belong to a command on another machine")
            _remove_unless_held(left)
        except FileNotFoundError:  # its writer has finished meanwhile
            continue
        except OSError as error:
            reason = error.strerror or error
            print(f"note: {left} stays ({reason}); remove it if no command is writing {path.name}", file=sys.stderr)


def _remove_unless_held(left: Path) -> None:
    """Remove a file or folder unless its writer lives.

    Raises:
        OSError: it cannot be removed, or the file system has no locks.
    """
    is_folder = left.is_dir() and not left.is_symlink()
    flags = os.O_RDONLY if is_folder else os.O_RDWR
    descriptor = os.open(left, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with contextlib.suppress(BlockingIOError):  # its writer lives
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_folder:
                shutil.rmtree(left)
            else:
                left.unlink()
    finally:
        os.close(descriptor)
