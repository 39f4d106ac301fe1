"""Read byte ranges of OFRecord parts, one batch of them at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError

_MAX_OPEN_PARTS = 256
_SLOW = 20e-6  # seconds per piece; the page cache takes 2 to 4 us, a disk 100 us and more
_HINTED_BATCHES = 100  # after a slow batch; then try without hints again


class PartReader:
    """The part files, opened on first use; a pickled copy opens them again.

    Args:
        parts: the files.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self._parts = parts
        self._handles = _Handles(parts)
        self._hinted = _HINTED_BATCHES

    def read(self, pieces: Sequence[tuple[int, int, int]]) -> list[bytes]:
        """Return the bytes of each piece (part number, first byte, length), fewer if the part ends before.

        While reads are slow, the kernel is told of the whole batch first (``posix_fadvise``), so that a disk reads
        ahead. For parts in the page cache the hints would double the time, so they are omitted.

        Raises:
            UserError: a part cannot be opened or read; the message names it or its folder.
        """
        handles = self._handles
        try:
            if self._hinted > 0:
                self._hinted -= 1
                for part, begin, length in pieces:
                    os.posix_fadvise(handles[part], begin, length, os.POSIX_FADV_WILLNEED)
            start = time.perf_counter()
            found = [os.pread(handles[part], length, begin) for part, begin, length in pieces]
        except OSError as error:
            raise UserError(f"{error.filename or self._parts[0].parent} cannot be read: {error.strerror}") from error
        if time.perf_counter() - start > _SLOW * len(pieces):
            self._hinted = _HINTED_BATCHES
        return found

    def __del__(self) -> None:
        for handle in self._handles.values():
            os.close(handle)

    def __reduce__(self) -> tuple[type[PartReader], tuple[Sequence[Path]]]:
        return PartReader, (self._parts,)


class _Handles(dict[int, int]):
    """File descriptors by part number; a dictionary, for the cheapest look-up."""

    def __init__(self, parts: Sequence[Path]) -> None:
        super().__init__()
        self._parts = parts

    def __missing__(self, part: int) -> int:
        if len(self) >= _MAX_OPEN_PARTS:
            os.close(self.pop(next(iter(self))))
        self[part] = os.open(self._parts[part], os.O_RDONLY)
        return self[part]
