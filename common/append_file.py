"""Append to a file that must not end the work when it cannot be written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path


class AppendFile:
    """A file that is appended to, without buffers. What cannot be written is left out; the first time, a line says so.

    Later pieces are tried again, so that the file goes on when a full disk has room again. A piece is in the file
    completely or not at all.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        """Open ``path``, which is created; ``say`` gets the line about the first failure."""
        self._path = path
        self._say = say
        self._failed = False
        self._descriptor: int | None = None
        self._open()

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            self._fail(error)

    def write(self, data: bytes) -> None:
        """Append ``data``."""
        if self._descriptor is None:
            return
        size = None
        try:
            size = os.fstat(self._descriptor).st_size
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # for a device or a lost disk
                if size is not None:
                    os.ftruncate(self._descriptor, size)
            self._fail(error)

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _fail(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            self._say(f"{self._path} cannot be written ({error.strerror}); the training continues without it")
