"""Disks and limits of a campaign: a file system in memory, slow writes, and a group with limited memory."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_SIZE = 256 << 20  # bytes of the file system in memory
_SLOW_WRITES = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

/* Writes into regular files at 4 MB/s, and fsync takes 50 ms more. */
static int is_file(int fd) { struct stat s; return fstat(fd, &s) == 0 && S_ISREG(s.st_mode); }

ssize_t write(int fd, const void* data, size_t size) {
  static ssize_t (*next)(int, const void*, size_t);
  if (!next) next = (ssize_t(*)(int, const void*, size_t))dlsym(RTLD_NEXT, "write");
  if (is_file(fd)) { if (size > 1 << 16) size = 1 << 16; usleep(size / 4); }
  return next(fd, data, size);
}

int fsync(int fd) {
  static int (*next)(int);
  if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  usleep(50000);
  return next(fd);
}
"""


class NotPossibleError(Exception):
    """A kind of disk cannot be had on this machine; the message says why."""


class MemoryDisk:
    """A file system in memory, mounted at ``folder``."""

    def __init__(self, folder: Path) -> None:
        """Take the place of the mounted file system."""
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, free: int) -> None:
        """Leave about ``free`` bytes."""
        self.free()
        there = os.statvfs(self.folder)
        pages = max(there.f_bavail - free // there.f_bsize, 0)
        with open(self._ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(pages * there.f_bsize, 1))

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink(missing_ok=True)

    def set_read_only(self, is_read_only: bool) -> None:
        """Forbid or allow all writes."""
        _run("mount", "-o", f"remount,{'ro' if is_read_only else 'rw'}", str(self.folder))


def _run(*words: str) -> None:
    try:
        subprocess.run(words, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NotPossibleError(f"there is no {words[0]} command") from error
    except subprocess.CalledProcessError as error:
        raise NotPossibleError(f"{' '.join(words)}: {error.stderr.strip() or error}") from error


@contextmanager
def memory_disk(folder: Path) -> Iterator[MemoryDisk]:
    """Mount a file system in memory at ``folder``, which is created.

    Raises:
        NotPossibleError: this process may not mount, which takes root.
    """
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder))
    try:
        yield MemoryDisk(folder)
    finally:
        _run("umount", "-l", str(folder))


def slow_writes(folder: Path) -> dict[str, str]:
    """Return environment variables that make the writes of a process slow: a library in ``folder`` that is compiled.

    Raises:
        NotPossibleError: there is no compiler.
    """
    source, library = folder / "slow.c", folder / "slow.so"
    source.write_text(_SLOW_WRITES)
    _run("gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl")
    return {"LD_PRELOAD": str(library)}


class MemoryGroup:
    """A control group (cgroup, version 1 or 2) with limited memory; a process enters it by ``entrance``."""

    def __init__(self, folder: Path, limit: str, used: str) -> None:
        """Take the folder of the group, and the names of the files with its limit and use."""
        self._limit, self._used, self.entrance = folder / limit, folder / used, folder / "cgroup.procs"

    def limit(self, size: int) -> None:
        """Allow ``size`` bytes; the kernel kills processes of the group when they take more."""
        self._limit.write_text(str(size))

    def used(self) -> int:
        """Return the bytes in use."""
        return int(self._used.read_text())


@contextmanager
def memory_group(name: str, size: int) -> Iterator[MemoryGroup]:
    """Create a control group ``name`` with ``size`` bytes of memory; it ends with its processes.

    Raises:
        NotPossibleError: this process may not create one, which takes root.
    """
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").is_file():
        folder, files = root / name, ("memory.max", "memory.current")
    else:
        folder, files = root / "memory" / name, ("memory.limit_in_bytes", "memory.usage_in_bytes")
    group = MemoryGroup(folder, *files)
    with ExitStack() as stack:
        try:
            folder.mkdir()
            stack.callback(_remove_group, folder)
            group.limit(size)
        except OSError as error:
            raise NotPossibleError(f"{folder}: {error.strerror}") from error
        yield group


def _remove_group(folder: Path) -> None:
    for _ in range(100):  # processes leave it a moment after their end
        with suppress(OSError):
            return folder.rmdir()
        time.sleep(0.1)
    return None
