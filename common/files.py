"""Write outputs that are complete or absent: under a temporary name beside the target, then flushed and renamed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.errors import ADVICE, UserError
from common.temporaries import create_temporary, temporary_path

_FLUSHED_AT_ONCE = 16
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _write_error(path: Path, error: OSError) -> UserError:
    advice = ADVICE.get(error.errno, "choose another path")
    return UserError(f"{path} cannot be written ({error.strerror}); {advice}")


def make_directory(path: Path, flag: str) -> None:
    """Create the folder that ``flag`` names, and its parents, if they are missing.

    Raises:
        UserError: the folder cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be created ({error.strerror}); choose another {flag}") from error


def check_target(path: str | Path, flag: str) -> None:
    """Check that a file that ``flag`` names can be written, before long work.

    Raises:
        UserError: the path is empty, a folder, or in a place that cannot be written.
    """
    if not str(path):
        raise UserError(f"{flag} is empty; give a path")
    if Path(path).is_dir():
        raise UserError(f"{flag} {path} cannot be written (it is a folder); name a file")
    above = next(parent for parent in Path(path).absolute().parents if os.path.lexists(parent))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        reason = "is not writable" if above.is_dir() else "is not a folder"
        raise UserError(f"{flag} {path} cannot be written ({above} {reason}); choose another path")


def sync_path(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_file(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """Open ``path`` for writing; it appears under its name only when the block ends without an exception.

    Missing parent folders are created. On an exception the temporary file is removed and an existing file is kept.

    Raises:
        UserError: the file cannot be written there.
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = create_temporary(temporary, path, folder=False)
    except OSError as error:
        raise _write_error(path, error) from error
    try:
        with os.fdopen(os.dup(descriptor), mode) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        _put_in_place(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise _write_error(path, error) from error
        raise
    finally:
        os.close(descriptor)


def _put_in_place(temporary: Path, path: Path) -> None:
    try:
        os.replace(temporary, path)
    except OSError as error:  # for example, a folder has this name, or another command made it meanwhile
        raise _write_error(path, error) from error
    sync_path(path.parent)


def copy_file(source: str | Path, target: str | Path) -> None:
    """Copy a file so that ``target`` is complete or absent.

    Raises:
        UserError: ``target`` cannot be written.
    """
    with open(source, "rb") as content, atomic_file(target) as handle:
        shutil.copyfileobj(content, handle, 1 << 22)


@contextmanager
def atomic_directory(path: str | Path, many_files: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes ``path`` when the block ends without an exception.

    Each file is flushed to the disk; with ``many_files`` all file systems are, at once, which takes less time for
    thousands of files.

    Raises:
        UserError: ``path`` exists already (it is never overwritten), it cannot be written, or the disk is full.
    """
    path = Path(path)
    if os.path.lexists(path):  # a broken link too
        raise UserError(f"{path} exists already; remove it or choose another name")
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = create_temporary(temporary, path, folder=True)
    except OSError as error:
        raise _write_error(path, error) from error
    try:
        yield temporary
        if many_files:
            os.sync()
        else:
            # Side by side, because a file system takes nearly as long for one as for several at once.
            with ThreadPoolExecutor(_FLUSHED_AT_ONCE) as pool:
                list(pool.map(sync_path, filter(Path.is_file, temporary.rglob("*"))))
        _put_in_place(temporary, path)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise _write_error(path, error) from error
        raise
    finally:
        os.close(descriptor)
