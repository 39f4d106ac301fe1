"""Class rows in safetensors files: written piece by piece, as they may fill the memory, and read in part.

The library copies all arrays before it writes, and cannot read bfloat16 into numpy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open

from common.bfloat16 import BFLOAT16, widen
from common.json_text import parse_json

_DTYPES = {"float16": "F16", "float32": "F32", "float64": "F64", "int32": "I32", "int64": "I64", "uint8": "U8"}
_BF16 = "BF16"
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
        header[name] = {"dtype": _type_name(array.dtype), "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for piece in (len(text).to_bytes(8, "little"), text, *(p for array in arrays.values() for p in _cut(array))):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def read_rows(path: Path, start: int, stop: int) -> dict[str, np.ndarray]:
    """Return the rows ``start`` .. ``stop - 1`` of all arrays of a safetensors file; bfloat16 becomes float32.

    Raises:
        SafetensorError: the file is damaged.
    """
    rows = {}
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 (not a dict)
            part = file.get_slice(name)
            rows[name] = _map_bfloat16(path, name)[start:stop] if part.get_dtype() == _BF16 else part[start:stop]
    return {name: np.array(widen(array)) if array.dtype == BFLOAT16 else array for name, array in rows.items()}


def _map_bfloat16(path: Path, name: str) -> np.ndarray:
    """Return an array of a sound file, read where it is used."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        facts = parse_json(file.read(length))[name]
    return np.memmap(path, BFLOAT16, "r", 8 + length + facts["data_offsets"][0], tuple(facts["shape"]))


def _type_name(dtype: np.dtype) -> str:
    return _BF16 if dtype == BFLOAT16 else _DTYPES[dtype.name]


def _cut(array: np.ndarray) -> list[memoryview]:
    """Return the bytes of an array in pieces; they are views if the array is contiguous."""
    whole = memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return [whole[start : start + _PIECE] for start in range(0, len(whole), _PIECE)]
