"""Verification ``.bin`` files: a pickle of ``(bins, issame_list)`` with 2N encoded images and N booleans.

Pair i is the images 2i and 2i + 1. The files were written by Python 2 or 3, with bytes or uint8 arrays. A pickle can
run any code, so reading admits nothing but containers, bytes, numbers and numpy arrays.
"""

from __future__ import annotations

import codecs
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.core import multiarray, numeric

from common.errors import UserError
from common.files import atomic_file

_PROTOCOL = 4  # the first one that holds more than 4 GB


def read_bin(path: str | Path) -> tuple[list[bytes], list[bool]]:
    """Read a verification set.

    Returns:
        2N encoded images and N booleans (True: the pair shows one person).

    Raises:
        UserError: missing file, damaged pickle, forbidden content, or not of the form (2N images, N booleans).
    """
    path = Path(path)
    try:
        with open(path, "rb") as handle:
            # encoding="bytes" turns the strings of Python 2 into bytes and changes nothing for Python 3.
            content = _Unpickler(handle, encoding="bytes").load()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except _ForbiddenError as error:
        raise UserError(
            f"{path}: refused to load '{error}': a verification .bin holds images and booleans only"
        ) from error
    except Exception as error:  # a damaged pickle can raise almost anything
        raise UserError(f"{path}: not a verification .bin (a pickle of images and booleans): {error}") from error
    if not isinstance(content, (tuple, list)) or len(content) != 2:
        raise UserError(f"{path}: found a {type(content).__name__}, expected (images, issame_list)")
    bins, issame = content
    if not all(isinstance(part, (tuple, list, np.ndarray)) for part in content) or len(bins) != 2 * len(issame):
        raise UserError(f"{path}: expected a list of 2N images and a list of N booleans")
    return [_to_bytes(path, item, i) for i, item in enumerate(bins)], [
        _to_bool(path, x, i) for i, x in enumerate(issame)
    ]


def write_bin(path: str | Path, bins: Sequence[bytes], issame: Sequence[bool]) -> None:
    """Write 2N encoded images and N booleans so that ``pickle.load`` and InsightFace's loader read them."""
    if len(bins) != 2 * len(issame):
        raise ValueError(f"{len(bins)} images for {len(issame)} pairs")
    with atomic_file(path) as handle:
        pickle.dump(([bytes(item) for item in bins], [bool(same) for same in issame]), handle, protocol=_PROTOCOL)


class _ForbiddenError(pickle.UnpicklingError):
    """The pickle asks for something that is no plain data."""


def _encode_latin1(text: str, encoding: str | bytes) -> bytes:
    """Stand in for ``codecs.encode``: Python 3 writes bytes so when asked for an old protocol."""
    if encoding not in ("latin1", b"latin1"):
        raise _ForbiddenError(f"codecs.encode to {encoding!r}")
    return codecs.encode(text, "latin1")


_PYTHON_CALLS = {
    ("_codecs", "encode"): _encode_latin1,
    ("builtins", "bytes"): bytes,
    ("__builtin__", "bytes"): bytes,
    ("builtins", "bytearray"): bytearray,
    ("__builtin__", "bytearray"): bytearray,
}
_NUMPY_CALLS = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")  # numpy 2 renamed the package
        for module, name, function in (
            ("multiarray", "_reconstruct", multiarray._reconstruct),
            ("multiarray", "scalar", multiarray.scalar),
            ("numeric", "_frombuffer", numeric._frombuffer),
        )
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _PYTHON_CALLS.get((module, name)) or _NUMPY_CALLS.get((module, name))
        if found is None:
            raise _ForbiddenError(f"{module}.{name}")
        return found


def _to_bytes(path: Path, item: object, number: int) -> bytes:
    if isinstance(item, (bytes, bytearray)):
        return bytes(item)
    if isinstance(item, np.ndarray) and item.dtype == np.uint8:
        return item.tobytes()
    raise UserError(f"{path}: image {number} is a {type(item).__name__}, expected bytes or a uint8 array")


def _to_bool(path: Path, item: object, number: int) -> bool:
    if isinstance(item, (bool, int, float, np.bool_, np.number)) and item in (0, 1):
        return bool(item)
    raise UserError(f"{path}: issame of pair {number} is {item!r}, expected True or False")
