"""A safe reader for untrusted pickles: runs no code and never allocates more than the file holds.

Verification sets, and the files of PyTorch and OneFlow, are or contain pickles. The C reader of Python allocates the
length that a pickle claims before it checks that the data exists. This reader is based on the one in Python, which
reads only what the file holds, and supports fewer instructions.
"""

from __future__ import annotations

import io
import mmap
import pickle
import struct
from typing import Any

_REFUSED = (
    pickle.NEXT_BUFFER,
    pickle.READONLY_BUFFER,  # buffers outside the pickle
    pickle.EXT1,
    pickle.EXT2,
    pickle.EXT4,
    pickle.INST,
    pickle.OBJ,  # other ways to a class
)


_MAX_MESSAGE = 200  # characters; a message may quote the file


class ForbiddenError(pickle.UnpicklingError):
    """The pickle asks for a class or function that is not allowed."""


class DamagedError(pickle.UnpicklingError):
    """The pickle is damaged; covers every exception that reading it can raise."""


class RestrictedUnpickler(pickle._Unpickler):
    """Reads one pickle. A subclass overrides ``find_class`` to allow classes, preferably harmless replacements.

    Args:
        content: the pickle, in memory or memory-mapped: an ordinary file would allocate any length it is asked for.
            Of a stream in memory one pickle is read, from where it stands.
        encoding: encoding of Python 2's strings; "bytes" keeps them as bytes.
    """

    def __init__(self, content: bytes | mmap.mmap | io.BytesIO, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(content) if isinstance(content, bytes) else content, encoding=encoding)

    def load(self) -> Any:
        """Return the object in the pickle.

        Raises:
            ForbiddenError: the pickle asks for something that ``find_class`` does not allow.
            DamagedError: the pickle cannot be read for any other reason.
        """
        try:
            return super().load()
        except ForbiddenError:
            raise
        except Exception as error:
            raise DamagedError(f"{type(error).__name__}: {error}"[:_MAX_MESSAGE]) from error

    def find_class(self, module: str, name: str) -> Any:
        """Allow nothing; subclasses override this.

        Raises:
            ForbiddenError: always.
        """
        raise ForbiddenError(f"{module}.{name}"[:_MAX_MESSAGE])

    def _load_bytearray(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))  # pickle's version allocates the length first

    def _load_state(self) -> None:
        """Call ``__setstate__`` if it exists; pickle's version would set attributes of any object, even of classes."""
        state = self.stack.pop()
        set_state = getattr(type(self.stack[-1]), "__setstate__", None)
        if set_state is not None:
            set_state(self.stack[-1], state)

    dispatch = {code: load for code, load in pickle._Unpickler.dispatch.items() if bytes([code]) not in _REFUSED} | {
        pickle.BYTEARRAY8[0]: _load_bytearray,
        pickle.BUILD[0]: _load_state,
    }
