"""Reads binary files without trusting their length fields."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Any

from common.errors import UserError


class BinaryFile:
    """A file mapped into memory and read from front to end, never beyond its end."""

    def __init__(self, path: Path, kind: str) -> None:
        """``kind`` says in messages what the file should be.

        Raises:
            UserError: the file is missing, empty or unreadable.
        """
        self.path = path
        self._kind = kind
        try:
            with open(path, "rb") as handle:
                self.size = os.fstat(handle.fileno()).st_size
                self._map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) if self.size else None
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); expected {kind}") from error
        if self._map is None:
            raise UserError(f"{path} is empty; expected {kind}")
        self.offset = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self.size - self.offset

    def damaged(self, what: str) -> UserError:
        """Return the error that names the file and the offset, and says ``what`` is wrong there."""
        return UserError(f"{self.path} is damaged at byte {self.offset}: {what}; expected {self._kind}")

    def unpack(self, layout: str) -> Any:
        """Read one number of the ``struct`` format ``layout``, little-endian."""
        return struct.unpack("<" + layout, self.read(struct.calcsize("<" + layout)))[0]

    def read(self, size: int) -> memoryview:
        """Return the next ``size`` bytes, not copied.

        Raises:
            UserError: fewer than ``size`` bytes are left.
        """
        if size > self.left:
            raise self.damaged(f"{size} bytes should follow, {self.left} are left")
        start, self.offset = self.offset, self.offset + size
        return memoryview(self._map)[start : self.offset]
