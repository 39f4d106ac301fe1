"""Writes safetensors files piece by piece: the library copies all arrays first, and class rows may fill the memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_DTYPES = {"float16": "F16", "float32": "F32", "float64": "F64", "int32": "I32", "int64": "I64", "uint8": "U8"}
_ALIGNMENT = 8
_PIECE = 4 << 20  # bytes written at a time


def save_file(arrays: Mapping[str, np.ndarray], path: Path) -> str:
    """Write ``arrays`` as a safetensors file and return its SHA-256, computed while writing.

    Raises:
        OSError: the file cannot be written.
        KeyError: an array has a dtype that snapshots do not hold.
    """
    header, end = {}, 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for piece in (len(text).to_bytes(8, "little"), text, *(p for array in arrays.values() for p in _cut(array))):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _cut(array: np.ndarray) -> list[memoryview]:
    """Return the bytes of an array in pieces; they are views if the array is contiguous."""
    whole = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return [whole[start : start + _PIECE] for start in range(0, len(whole), _PIECE)]
