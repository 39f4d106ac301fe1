"""Building native code on first use: finding tools, running them, and building once for all processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
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
        NativeUnavailableError: ``locate_tools`` or ``build`` raised it, or ``cache`` cannot be written, or another user
            could have written what it holds.
    """
    folder = cache / key
    if folder.is_dir():
        check_built_folder(folder)
        return folder
    tools = locate_tools()
    try:
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        _check_owner(cache)
        with locked(cache / "lock"):
            if not folder.is_dir():
                with atomic_directory(folder) as temporary:
                    build(tools, temporary)
    except OSError as error:
        raise NativeUnavailableError(f"cannot write {cache}: {error.strerror or error}") from error
    except UserError as error:
        raise NativeUnavailableError(str(error)) from error
    check_built_folder(folder)
    return folder


def check_built_folder(folder: Path) -> None:
    """Check that only this user, or the owner of the Python environment, can have written code that is to be loaded.

    Raises:
        NativeUnavailableError: the folder, the cache that it lies in or one of its files belongs to another user, or
            others may write it.
    """
    for path in (folder.parent, folder, *folder.rglob("*")):
        _check_owner(path)


def _check_owner(path: Path) -> None:
    trusted = {0, os.geteuid(), os.stat(sys.prefix).st_uid}
    for status in (path.lstat(), path.stat()):
        is_link = stat.S_ISLNK(status.st_mode)
        for_others = stat.S_IWOTH | (0 if status.st_gid == os.getegid() else stat.S_IWGRP)
        if status.st_uid not in trusted or (not is_link and status.st_mode & for_others):
            raise NativeUnavailableError(
                f"{path} belongs to another user, or others may write it (owner {status.st_uid}, mode "
                f"{stat.S_IMODE(status.st_mode):o}), so its code is not loaded; remove it, or run chmod -R go-w {path}"
            )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file ``path``; the end of the process releases it too."""
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
