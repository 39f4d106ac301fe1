"""Reads binary files without trusting their length fields."""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Any

from common.errors import UserError

_TEXT = (b"version https://git-lfs", b"<!DOCTYPE", b"<html", b"<?xml")


def require_file(path: Path, kind: str) -> bytes:
    """Return the first 64 bytes of a file, before a library opens it: one that opens a pipe waits for ever.

    Args:
        path: the file.
        kind: says in messages what the file should be.

    Raises:
        UserError: it cannot be read, or is a folder, a pipe, a device, or a text in place of the file.
    """
    try:
        if not path.is_file() and not path.is_dir() and path.exists():
            raise UserError(f"{path} is a pipe or a device; expected {kind}")
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected {kind}") from error
    if start.startswith(_TEXT):
        raise UserError(f"{path} is a text, such as a Git LFS pointer or a web page; download the file itself")
    return start


class BinaryFile:
    """A file mapped into memory and read from front to end, never beyond its end."""

    def __init__(self, path: Path, kind: str) -> None:
        """``kind`` says in messages what the file should be.

        Raises:
            UserError: the file is missing, empty or unreadable.
        """
        self.path = path
        self._kind = kind
        require_file(path, kind)
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
