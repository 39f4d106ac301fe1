"""Reads and writes MXNet's ``.params`` files: named arrays, as ``mx.nd.save`` writes them.

uint64 0x112, uint64 0, uint64 count, the arrays, uint64 count, the names (uint64 length and bytes). An array is its
magic number, storage type, shape, device, type number and raw little-endian values. Names carry ``arg:`` or ``aux:``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np

from common.files import atomic_file
from interchange.binary import BinaryFile

LIST_MAGIC = 0x112
MAGIC_V1, MAGIC_V2, MAGIC_V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}
CPU = (1, 0)  # device type and number
MAX_AXES = 32
MAX_ARRAYS = 1 << 20
DENSE = 0
_LEAST_ARRAY_BYTES = 4
_KIND = "an MXNet .params file"


def read_params(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays by name, prefix included, in the types of the file. Values are copied out of the file.

    Raises:
        UserError: the file is missing or is not MXNet's, is truncated, or claims sizes that it cannot hold.
    """
    file = BinaryFile(Path(path), _KIND)
    magic = file.unpack("Q")
    if magic != LIST_MAGIC:
        file.offset = 0
        raise file.damaged(f"it starts with {magic:#x} instead of {LIST_MAGIC:#x}")
    file.unpack("Q")
    count = file.unpack("Q")
    if count > MAX_ARRAYS or count * _LEAST_ARRAY_BYTES > file.left:
        raise file.damaged(f"it claims {count} arrays")
    arrays = [_read_array(file) for _ in range(count)]
    names = file.unpack("Q")
    if names != count:
        raise file.damaged(f"it has {count} arrays and {names} names")
    named: dict[str, np.ndarray] = {}
    for array in arrays:
        try:
            name = bytes(file.read(file.unpack("Q"))).decode()
        except UnicodeDecodeError as error:
            raise file.damaged("a name is not text") from error
        if name in named:
            raise file.damaged(f"'{name}' comes twice")
        named[name] = array
    return named


def _read_array(file: BinaryFile) -> np.ndarray:
    magic = file.unpack("I")
    if magic in (MAGIC_V2, MAGIC_V3):
        storage = file.unpack("i")
        if storage != DENSE:
            raise file.damaged(f"an array has storage type {storage}, and only dense ones ({DENSE}) are known")
        axes, size = file.unpack("I"), "q"
    elif magic == MAGIC_V1:
        axes, size = file.unpack("I"), "q"
    else:  # before MXNet 0.12 there was no magic number: the array starts with its number of axes
        axes, size = magic, "I"
    if axes > MAX_AXES:
        raise file.damaged(f"an array starts with {axes:#x}")
    shape = tuple(file.unpack(size) for _ in range(axes))
    if any(length < 0 for length in shape):
        raise file.damaged(f"an array has shape {shape}")
    if not axes:
        return np.empty(0, np.float32)
    file.read(8)  # the device it was on
    number = file.unpack("i")
    if number not in DTYPES:
        raise file.damaged(f"an array has type number {number}; known: {', '.join(map(str, DTYPES))}")
    dtype = np.dtype(DTYPES[number])
    values = np.frombuffer(file.read(prod(shape) * dtype.itemsize), dtype)
    try:
        return values.reshape(shape).copy()
    except ValueError as error:  # an empty array whose axis lengths overflow 64 bits
        raise file.damaged(f"an array has shape {shape}") from error


def write_params(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write float32 or float16 ``arrays`` by name, prefix included, so that ``mx.nd.load`` reads them."""
    numbers = {np.dtype(dtype): number for number, dtype in DTYPES.items()}
    with atomic_file(path) as file:
        file.write(struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays)))
        for array in arrays.values():
            file.write(struct.pack("<IiI", MAGIC_V2, DENSE, array.ndim))
            file.write(struct.pack(f"<{array.ndim}q", *array.shape))
            file.write(struct.pack("<iii", *CPU, numbers[array.dtype]))
            file.write(np.ascontiguousarray(array).data)
        file.write(struct.pack("<Q", len(arrays)))
        for name in arrays:
            file.write(struct.pack("<Q", len(name.encode())) + name.encode())
