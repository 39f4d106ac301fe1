"""Reads and writes PyTorch's ``.pth`` files (torch 1.6 and newer), without PyTorch and without running their code.

A file is a zip of ``data.pkl``, which says how tensors lie in storages, and one file of raw numbers per storage. The
pickle may name only tensors and containers.
"""

from __future__ import annotations

import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from typing_extensions import override

from common.errors import UserError
from common.files import atomic_file
from common.pickles import DamagedError, ForbiddenError, RestrictedUnpickler

_STORAGES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "DoubleStorage": "<f8",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
    "BFloat16Storage": "<u2",
}
MAX_BYTES = 1 << 22  # of an index; the deepest known network's, with its optimizer, has a tenth of that


@dataclass(frozen=True)
class _StorageType:
    name: str


@dataclass(frozen=True, eq=False)
class _Storage:
    """The numbers of one part of the zip, distinct from a tensor, whose strides may reach beyond its memory."""

    numbers: np.ndarray


class _Unpickler(RestrictedUnpickler):
    def __init__(self, content: bytes, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(content)
        self._archive = archive
        self._folder = folder
        self._storages: dict[str, _Storage] = {}

    @override
    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _StorageType(name)
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        if (module, name) not in known:
            return super().find_class(module, name)
        return known[module, name]

    @override
    def persistent_load(self, pid: tuple) -> _Storage:
        _, kind, key, _, _ = pid
        if key not in self._storages:
            numbers = np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), _STORAGES[kind.name])
            if kind.name == "BFloat16Storage":
                numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
            self._storages[key] = _Storage(numbers)
        return self._storages[key]


def _rebuild_tensor(storage: Any, offset: int, shape: tuple, stride: tuple, *_: Any) -> np.ndarray:
    """Return a view of ``storage`` as a tensor.

    Raises:
        ValueError: the tensor reaches beyond the storage.
    """
    if not isinstance(storage, _Storage):
        raise ValueError(f"a tensor lies in a {type(storage).__name__}, not in a storage")
    numbers = storage.numbers
    if len(shape) != len(stride) or min((offset, *shape, *stride), default=0) < 0:
        raise ValueError(f"a tensor has shape {shape} and strides {stride}")
    last = offset + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
    if prod(shape) and (last >= len(numbers) or prod(shape) > len(numbers)):
        raise ValueError(f"a tensor of shape {shape} reaches beyond its storage of {len(numbers)} numbers")
    if not prod(shape):
        return np.empty(shape, numbers.dtype)
    return as_strided(numbers[offset:], shape, [step * numbers.itemsize for step in stride])


def read_archive(path: str | Path) -> Any:
    """Return what was saved: containers with numpy arrays in place of tensors.

    Raises:
        UserError: the file is missing or damaged, older than torch 1.6, or holds objects other than tensors.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _load(path, archive)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected a PyTorch file") from error
    except zipfile.BadZipFile as error:
        raise UserError(
            f"{path} is not a file of torch 1.6 or newer, or is damaged ({error}); save it again there"
        ) from error
    except ForbiddenError as error:
        raise UserError(f"{path}: refused to load '{error}'; save the state_dict alone") from error
    except DamagedError as error:
        raise UserError(f"{path} is damaged ({error})") from error
    except UserError:
        raise
    except Exception as error:  # a damaged zip can raise almost anything
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def _load(path: Path, archive: zipfile.ZipFile) -> Any:
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            raise UserError(f"{path}: its part {info.filename} is compressed, which torch.save never does")
    claimed, total = sum(info.file_size for info in archive.infolist()), path.stat().st_size
    if claimed > total:
        raise UserError(f"{path}: its parts claim {claimed} bytes, and the whole file has {total}")
    index = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
    if index is None or archive.getinfo(index).file_size > MAX_BYTES:
        raise UserError(f"{path} has no data.pkl, or one that is too large; expected a file of torch.save")
    return _Unpickler(archive.read(index), archive, index.removesuffix("data.pkl")).load()


def write_archive(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write float32 and int64 ``arrays`` as a state_dict that ``torch.load`` reads, with ``weights_only`` too."""
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", _pickle_index(arrays))
        archive.writestr("archive/byteorder", "little")
        for number, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{number}", np.ascontiguousarray(array).tobytes())
        archive.writestr("archive/version", "3\n")


def _pickle_index(arrays: Mapping[str, np.ndarray]) -> bytes:
    ordered = b"ccollections\nOrderedDict\n)R"
    storages = {np.dtype(kind): name for name, kind in _STORAGES.items() if name in ("FloatStorage", "LongStorage")}
    parts = [b"\x80\x02", ordered, b"("]
    for number, (name, array) in enumerate(arrays.items()):
        steps = [size // array.itemsize for size in np.ascontiguousarray(array).strides] if array.ndim else []
        storage = _pickle_tuple(
            _pickle_text("storage"),
            f"ctorch\n{storages[array.dtype]}\n".encode(),
            _pickle_text(str(number)),
            _pickle_text("cpu"),
            _pickle_integer(array.size),
        )
        shape = _pickle_tuple(*map(_pickle_integer, array.shape))
        tensor = _pickle_tuple(
            storage + b"Q", _pickle_integer(0), shape, _pickle_tuple(*map(_pickle_integer, steps)), b"\x89", ordered
        )
        parts += [_pickle_text(name), b"ctorch._utils\n_rebuild_tensor_v2\n", tensor, b"R"]
    return b"".join([*parts, b"u."])


def _pickle_text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _pickle_integer(number: int) -> bytes:
    return b"J" + struct.pack("<i", number) if number < 1 << 31 else b"\x8a\x08" + struct.pack("<q", number)


def _pickle_tuple(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"
