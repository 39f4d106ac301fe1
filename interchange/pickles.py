"""Pickles of strangers, read without running what they hold and without trusting their lengths.

PyTorch's and OneFlow's files keep names and shapes in a pickle. Python's own reader in C allocates what a pickle says
before it looks whether that is there; this is the one in Python, which reads from memory, with fewer instructions.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

MAX_BYTES = 1 << 22  # of an index; that of the deepest network known, with its optimiser, has a tenth

_REFUSED = (
    pickle.BYTEARRAY8,  # allocates its length at once
    pickle.NEXT_BUFFER, pickle.READONLY_BUFFER,  # lie outside
    pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.INST, pickle.OBJ,  # other ways to a class
)  # fmt: skip


class ForbiddenError(pickle.UnpicklingError):
    """The pickle asks for something that is no tensor."""


class RestrictedUnpickler(pickle._Unpickler):
    """Reads one pickle; ``find_class`` of a subclass decides what may be made."""

    dispatch = {code: load for code, load in pickle._Unpickler.dispatch.items() if bytes([code]) not in _REFUSED}

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")

    def find_class(self, module: str, name: str) -> Any:
        """Refuse everything.

        Raises:
            ForbiddenError: always.
        """
        raise ForbiddenError(f"{module}.{name}")
