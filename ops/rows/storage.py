"""Allocate class rows and their momentum in memory, or in memory-mapped files (CPU only)."""

from __future__ import annotations

import mmap
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.wording import sized

STORAGES = ("memory", "mmap")
_FLOAT32 = np.dtype(np.float32)


class RowStorage:
    """Allocates large arrays of class rows.

    Mapped arrays may be larger than the memory: the system moves pages between memory and disk. Their files have no
    name, so that nothing remains of them when the process ends, however it ends.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """``folder`` is that of mapped arrays, created if missing; None for arrays in memory."""
        self._folder = folder

    @property
    def is_mapped(self) -> bool:
        """Whether arrays are in mapped files."""
        return self._folder is not None

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype = _FLOAT32) -> np.ndarray:
        """Return a new array of zeros. In memory it takes its whole size at once.

        Raises:
            UserError: the folder cannot be written, or its disk is too full.
        """
        size = dtype.itemsize * prod(shape)
        if not size:
            return np.zeros(shape, dtype)
        # A step's rows are scattered: large pages are faster to look up, and reading ahead on a disk is useless.
        if self._folder is None:
            mapped = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            mapped.madvise(mmap.MADV_HUGEPAGE)
            _touch_pages(mapped)
        else:
            mapped = self._map_file(self._folder, size)
            mapped.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(mapped, dtype).reshape(shape)

    @staticmethod
    def _map_file(folder: Path, size: int) -> mmap.mmap:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                os.posix_fallocate(file.fileno(), 0, size)  # a disk that fills up later would kill the process
                return mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise UserError(
                f"{folder} cannot hold a file of {sized(size)} for class rows ({error.strerror}); "
                "choose another folder with --fc7_storage_dir"
            ) from error


def _touch_pages(mapped: mmap.mmap) -> None:
    """Write a zero to each page of new memory, so that the system provides all of them now.

    Otherwise each page comes with the first step that updates a row of it. A sample meets new pages for hundreds of
    steps, and the later they come, the fewer free pieces of memory are left that are large enough for a large page.
    """
    threads = len(os.sched_getaffinity(0))
    pages = np.frombuffer(mapped, np.uint8)[:: mmap.PAGESIZE]
    with ThreadPoolExecutor(threads) as pool:  # numpy lets the other threads run while it writes
        list(pool.map(lambda part: part.fill(0), np.array_split(pages, threads)))
