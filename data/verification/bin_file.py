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
from common.wording import counted

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
    except DamagedError as error:
        raise UserError(f"{path}: not {_KIND}: {error}") from error
    except ValueError as error:
        if path.stat().st_size:
            raise UserError(f"{path}: not {_KIND}: {error}") from error
        raise UserError(f"{path} is empty (0 bytes); copy it again") from error
    if not isinstance(content, (tuple, list)) or len(content) != 2:
        raise UserError(f"{path}: found {_describe(content)}, expected a pair (images, issame_list)")
    bins, issame = (_to_list(path, item, name) for item, name in zip(content, ("images", "flags"), strict=True))
    _check_counts(path, bins, issame)
    images = _copy_images(path, _to_buffers(path, bins), size)
    return images, [_to_bool(path, x, i) for i, x in enumerate(issame)]


def write_bin(path: str | Path, bins: Sequence[bytes], issame: Sequence[bool]) -> None:
    """Write 2N encoded images and N booleans so that ``pickle.load`` and InsightFace's loader read them."""
    if len(bins) != 2 * len(issame):
        raise ValueError(f"{counted(len(bins), 'image')} for {counted(len(issame), 'pair')}")
    with atomic_file(path) as handle:
        pickle.dump(([bytes(item) for item in bins], [bool(same) for same in issame]), handle, protocol=_PROTOCOL)


class _Dtype:
    """Replaces numpy's dtype, which a pickled state could turn into any type."""

    _KNOWN = {kind + size: kind + size for kind in "iu" for size in "1248"} | {
        "b1": "?",
        "f2": "f2",
        "f4": "f4",
        "f8": "f8",
        **dict.fromkeys(("O", "O4", "O8"), "O"),
    }

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
    objects: tuple[int, ...] | None = None  # the shape of an array of Python objects, which are not kept

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, in_columns, content = state
        if dtype.plain.hasobject:
            self.objects = shape
        else:
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
    return item.values if isinstance(item, _Array) and item.objects is None else item


def _describe(item: Any) -> str:
    """Return what an entry is, for messages."""
    item = _get_values(item)
    if isinstance(item, _Array):
        return f"a numpy array of Python objects {list(item.objects)}"
    if isinstance(item, np.ndarray):
        return f"a numpy array {item.dtype} {list(item.shape)}"
    if isinstance(item, (tuple, list, dict)):
        return f"a {type(item).__name__} of {len(item)} entries"
    if isinstance(item, (bytes, bytearray)):
        return f"{len(item)} bytes"
    return f"a {type(item).__name__}"


def _to_list(path: Path, item: Any, name: str) -> Any:
    """Return the images, or the flags, as something with a length.

    Raises:
        UserError: the file holds something else in their place.
    """
    values = _get_values(item)
    if isinstance(values, _Array):
        raise UserError(f"{path}: its {name} are {_describe(values)}; write list({name}), a list of bytes or booleans")
    if not isinstance(values, (tuple, list)) and not (isinstance(values, np.ndarray) and values.ndim > 0):
        raise UserError(
            f"{path}: its {name} are {_describe(values)}, expected a list of 2N images and one of N booleans"
        )
    return values


def _check_counts(path: Path, bins: Sequence, issame: Sequence) -> None:
    """Check that there are two images for each flag.

    Raises:
        UserError: there are not.
    """
    images, flags = len(bins), len(issame)
    if images == 2 * flags:
        return
    found = f"{path}: found {counted(images, 'image')} and {flags} flags"
    if images == flags and images:
        raise UserError(f"{found}, one for each image; expected one for each pair, {images // 2}: write issame[::2]")
    if flags == 2 * images:
        raise UserError(f"{found}; expected (images, issame_list), not the other way round")
    raise UserError(f"{found}; expected two images for each flag: 2N images and N booleans")


def _to_buffers(path: Path, bins: Sequence) -> list[bytes | bytearray | np.ndarray]:
    """Return the encoded images.

    Raises:
        UserError: images are not encoded; the message describes the first of them.
    """
    items = [_get_values(item) for item in bins]
    wrong = [number for number, item in enumerate(items) if not _is_encoded(item)]
    if not wrong:
        return items
    item, more = items[wrong[0]], f" (and {len(wrong) - 1} more like it or of other kinds)" if len(wrong) > 1 else ""
    decoded = isinstance(item, np.ndarray) and item.ndim > 1
    raise UserError(
        f"{path}: image {wrong[0]} is {_describe(item)}{', decoded pixels' if decoded else ''}{more}; expected the "
        "bytes of a JPEG or PNG file: cv2.imencode('.png', bgr)[1].tobytes(), or tools/dataset_convert/pairs_2_bin.py"
    )


def _is_encoded(item: object) -> bool:
    if isinstance(item, np.ndarray):
        return item.dtype == np.uint8 and item.size == max(item.shape, default=0)  # older imencode: [bytes, 1]
    return isinstance(item, (bytes, bytearray))


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
