"""Read and write verification ``.bin`` files, pickles of ``(bins, issame_list)``: 2N encoded images and N booleans.

Pair i consists of the images 2i and 2i + 1. The files were written by Python 2 or 3, with bytes or uint8 arrays. A
pickle can run any code, so the reader accepts only containers, bytes, numbers and numpy arrays, and passes only raw
bytes to numpy.
"""

from __future__ import annotations

import mmap
import pickle
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from common.errors import UserError
from common.files import atomic_file
from common.pickles import DamagedError, ForbiddenError, RestrictedUnpickler

_PROTOCOL = 4  # the first that supports more than 4 GB
_KIND = "a verification .bin (a pickle of images and booleans)"


def read_bin(path: str | Path) -> tuple[list[bytes], list[bool]]:
    """Read a verification set.

    Returns:
        2N encoded images and N booleans (True: the pair shows one person).

    Raises:
        UserError: the file cannot be read, is not a pickle, holds anything else than images and booleans, or does not
            have the form (2N images, N booleans).
    """
    path = Path(path)
    try:
        with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            size = len(mapped)
            content = _Unpickler(mapped).load()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ForbiddenError as error:
        raise UserError(
            f"{path}: refused to load '{error}': a verification .bin holds images and booleans only"
        ) from error
    except (DamagedError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise UserError(f"{path}: not {_KIND}: {error}") from error
    if not isinstance(content, (tuple, list)) or len(content) != 2:
        raise UserError(f"{path}: found a {type(content).__name__}, expected (images, issame_list)")
    bins, issame = map(_get_values, content)
    if not _is_list(bins) or not _is_list(issame) or len(bins) != 2 * len(issame):
        raise UserError(f"{path}: expected a list of 2N images and a list of N booleans")
    images = _copy_images(path, [_to_buffer(path, item, i) for i, item in enumerate(bins)], size)
    return images, [_to_bool(path, x, i) for i, x in enumerate(issame)]


def write_bin(path: str | Path, bins: Sequence[bytes], issame: Sequence[bool]) -> None:
    """Write 2N encoded images and N booleans so that ``pickle.load`` and InsightFace's loader read them."""
    if len(bins) != 2 * len(issame):
        raise ValueError(f"{len(bins)} images for {len(issame)} pairs")
    with atomic_file(path) as handle:
        pickle.dump(([bytes(item) for item in bins], [bool(same) for same in issame]), handle, protocol=_PROTOCOL)


class _Dtype:
    """Replaces numpy's dtype, which a pickled state could turn into any type."""

    _KNOWN = {kind + size: kind + size for kind in "iu" for size in "1248"} | {"b1": "?", "f4": "f4", "f8": "f8"}

    def __init__(self, name: str | bytes, *_: Any) -> None:
        name = name.decode("latin1") if isinstance(name, bytes) else str(name)
        if name not in self._KNOWN:
            raise ForbiddenError(f"numpy.dtype {name:.20}")
        self.plain = np.dtype(self._KNOWN[name])

    def __setstate__(self, state: tuple) -> None:
        if state[1] in (">", b">"):
            self.plain = self.plain.newbyteorder(">")


class _Array:
    """Replaces numpy's array, which pickle creates empty and fills later."""

    values: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, in_columns, content = state
        self.values = _read_array(content, dtype, shape, "F" if in_columns else "C")


def _read_array(content: bytes, dtype: _Dtype, shape: tuple, order: str = "C") -> np.ndarray:
    return np.frombuffer(content, dtype.plain).reshape(shape, order=order)


def _read_scalar(dtype: _Dtype, content: bytes) -> np.generic:
    return np.frombuffer(content, dtype.plain)[0]


_CALLS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")  # numpy 2 renamed the package
        for module, name, function in (
            ("multiarray", "_reconstruct", lambda *_: _Array()),
            ("multiarray", "scalar", _read_scalar),
            ("numeric", "_frombuffer", _read_array),
        )
    },
}
_BYTES = {("_codecs", "encode")} | {
    (module, name) for module in ("builtins", "__builtin__") for name in ("bytes", "bytearray")
}


class _Unpickler(RestrictedUnpickler):
    def __init__(self, content: mmap.mmap) -> None:
        # "bytes" keeps the strings of Python 2 as bytes; pickles of Python 3 are not affected.
        super().__init__(content, encoding="bytes")
        self._encoded: dict[str, bytes] = {}

    @override
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _BYTES:
            return self._make_bytes
        if (module, name) not in _CALLS:
            return super().find_class(module, name)
        return _CALLS[module, name]

    def _make_bytes(self, content: str | bytes = b"", encoding: str | bytes = "latin1") -> bytes:
        """Stand in for what Python 3 calls to make bytes when asked for an old protocol; copy nothing twice."""
        if isinstance(content, bytes):
            return content
        if not isinstance(content, str) or encoding not in ("latin1", "latin-1", b"latin1", b"latin-1"):
            raise ForbiddenError(f"bytes of a {type(content).__name__}, encoding {reprlib.repr(encoding)}")
        if content not in self._encoded:
            self._encoded[content] = content.encode("latin1")
        return self._encoded[content]


def _get_values(item: Any) -> Any:
    return item.values if isinstance(item, _Array) else item


def _is_list(item: Any) -> bool:
    return isinstance(item, (tuple, list)) or (isinstance(item, np.ndarray) and item.ndim > 0)


def _to_buffer(path: Path, item: object, number: int) -> bytes | bytearray | np.ndarray:
    item = _get_values(item)
    if isinstance(item, (bytes, bytearray)) or (isinstance(item, np.ndarray) and item.dtype == np.uint8):
        return item
    raise UserError(f"{path}: image {number} is a {type(item).__name__}, expected bytes or a uint8 array")


def _copy_images(path: Path, items: list[bytes | bytearray | np.ndarray], size: int) -> list[bytes]:
    """Return the images as bytes; an image that occurs several times is copied once.

    Raises:
        UserError: the images are larger than the file (``size`` bytes), because arrays share memory.
    """
    distinct = {id(item): item for item in items}
    total = sum(memoryview(item).nbytes for item in distinct.values())
    if total > size:
        raise UserError(f"{path}: its images claim {total} bytes, but the whole file has {size}")
    copies = {key: item.tobytes() if isinstance(item, np.ndarray) else bytes(item) for key, item in distinct.items()}
    return [copies[id(item)] for item in items]


def _to_bool(path: Path, item: object, number: int) -> bool:
    if isinstance(item, (bool, int, float, np.bool_, np.number)) and item in (0, 1):
        return bool(item)
    raise UserError(f"{path}: issame of pair {number} is {reprlib.repr(item)}, expected True or False")
