"""Pickles of strangers, read without running what they hold and without trusting their lengths.

Verification sets, and PyTorch's and OneFlow's files, are or have pickles. Python's own reader in C allocates what a
pickle says before it looks whether that is there; this is the one in Python, which takes no more than the file holds,
with fewer instructions.
"""

from __future__ import annotations

import io
import mmap
import pickle
import struct
from typing import Any

_REFUSED = (
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,  # lie outside
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.INST,
    pickle.OBJ,  # other ways to a class
)


_MOST = 200  # characters of a message, which may quote the file


class ForbiddenError(pickle.UnpicklingError):
    """The pickle asks for something that is no plain data."""


class DamagedError(pickle.UnpicklingError):
    """The pickle makes no sense, or makes Python say so in one of many ways."""


class RestrictedUnpickler(pickle._Unpickler):
    """Reads one pickle; ``find_class`` of a subclass decides what may be made: best, stand-ins of its own.

    Args:
        content: the pickle, in memory or mapped. A file opened plainly would allocate what it is asked for.
        encoding: of Python 2's strings; "bytes" leaves them as they are.
    """

    def __init__(self, content: bytes | mmap.mmap, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(content) if isinstance(content, bytes) else content, encoding=encoding)

    def load(self) -> Any:
        """Return what the pickle holds.

        Raises:
            ForbiddenError: it asks for what ``find_class`` does not know.
            DamagedError: anything else is wrong.
        """
        try:
            return super().load()
        except ForbiddenError:
            raise
        except Exception as error:
            raise DamagedError(f"{type(error).__name__}: {error}"[:_MOST]) from error

    def find_class(self, module: str, name: str) -> Any:
        """Refuse everything.

        Raises:
            ForbiddenError: always.
        """
        raise ForbiddenError(f"{module}.{name}"[:_MOST])

    def _load_bytearray(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))  # pickle's own allocates the length first

    def _load_state(self) -> None:
        """Hand a state to what takes one; pickle's own would set attributes of anything, classes included."""
        state = self.stack.pop()
        take = getattr(type(self.stack[-1]), "__setstate__", None)
        if take is not None:
            take(self.stack[-1], state)

    dispatch = {code: load for code, load in pickle._Unpickler.dispatch.items() if bytes([code]) not in _REFUSED} | {
        pickle.BYTEARRAY8[0]: _load_bytearray,
        pickle.BUILD[0]: _load_state,
    }
