"""Reading pieces of OFRecord parts, one batch of them at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError

_MAX_OPEN_PARTS = 256
_SLOW = 20e-6  # seconds a piece; from memory it takes 2 to 4, from a disk 100 and more
_HINTED_BATCHES = 100  # after a slow one; then it is seen whether the pieces have come to lie in memory


class PartReader:
    """The part files, opened when they are first read from; a pickled copy opens them for itself.

    Args:
        parts: the files.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self._parts = parts
        self._handles = _Handles(parts)
        self._hinted = _HINTED_BATCHES

    def read(self, pieces: Sequence[tuple[int, int, int]]) -> list[bytes]:
        """Return the bytes of each piece (part number, first byte, length), fewer where the part ends before.

        A disk is asked for all of them before the first is waited for. What lies in memory needs no such hint, and
        without it takes half the time.

        Raises:
            UserError: a part cannot be opened or read; names it, or the folder.
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
    """File descriptors by part number; as a dictionary because looking up costs least there."""

    def __init__(self, parts: Sequence[Path]) -> None:
        super().__init__()
        self._parts = parts

    def __missing__(self, part: int) -> int:
        if len(self) >= _MAX_OPEN_PARTS:
            os.close(self.pop(next(iter(self))))
        self[part] = os.open(self._parts[part], os.O_RDONLY)
        return self[part]
