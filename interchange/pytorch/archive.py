"""Reads PyTorch's ``.pth`` files without PyTorch and without running their code; writes those of torch 1.6 and newer.

A newer file is a zip of ``data.pkl``, which says how tensors lie in storages, and one file of raw numbers per storage.
TorchScript's files are such zips too.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from common.errors import UserError
from common.files import atomic_file
from common.pickles import DamagedError
from interchange.binary import require_file
from interchange.pytorch.legacy_file import START, read_legacy
from interchange.pytorch.tensors import MAX_BYTES, STORAGES, Storage, StorageType, TensorUnpickler

_ENCRYPTED = 1  # bit of a part's flags
_MAX_MESSAGE = 200  # characters
_WRITTEN = ("FloatStorage", "LongStorage")


class _Unpickler(TensorUnpickler):
    def __init__(self, path: Path, archive: zipfile.ZipFile, index: str) -> None:
        super().__init__(archive.read(index))
        self._path = path
        self._archive = archive
        self._folder = index.removesuffix("data.pkl")
        self._storages: dict[str, Storage] = {}

    @override
    def storage(self, kind: StorageType, key: Any) -> Storage:
        if key not in self._storages:
            part = self._archive.getinfo(f"{self._folder}data/{key}")
            if part.compress_type != zipfile.ZIP_STORED:
                raise DamagedError(f"its part {part.filename} is compressed")
            count = part.file_size // kind.dtype.itemsize
            self._storages[key] = Storage(kind, count, partial(_read_part, self._path, part), str(self._path))
        return self._storages[key]


def _read_part(path: Path, part: zipfile.ZipInfo) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(part)


def read_archive(path: str | Path) -> tuple[Any, list[str]]:
    """Return what was saved, and the names of the classes whose objects were skipped.

    Containers hold ``Tensor`` in place of PyTorch's tensors, and ``Skipped`` in place of other objects.

    Raises:
        UserError: the file is missing or damaged, or is not a file of torch.save.
    """
    path = Path(path)
    start = require_file(path, "a PyTorch file")
    try:
        if start.startswith(START):
            return read_legacy(path)
        if not start.startswith(b"PK"):
            raise UserError(f"{path} is not a file of torch.save; save the state_dict with it")
        with zipfile.ZipFile(path) as archive:
            return _load(path, archive)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected a PyTorch file") from error
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is damaged or cut ({_cut(error)}); copy it again") from error
    except DamagedError as error:
        raise UserError(f"{path} is damaged ({error})") from error
    except UserError:
        raise
    except Exception as error:  # a damaged file can raise almost anything
        raise UserError(f"{path} is damaged ({type(error).__name__}: {_cut(error)})") from error


def _cut(error: Exception) -> str:
    """Return the text of an error, which may quote the file."""
    return str(error)[:_MAX_MESSAGE]


def _load(path: Path, archive: zipfile.ZipFile) -> tuple[Any, list[str]]:
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED and not _is_code(info.filename):
            raise UserError(f"{path}: its part {info.filename[:80]} is compressed, which torch.save never does")
        if info.flag_bits & _ENCRYPTED:
            raise UserError(f"{path}: its part {info.filename[:80]} is encrypted, which torch.save never does")
    stored = [info.file_size for info in archive.infolist() if info.compress_type == zipfile.ZIP_STORED]
    claimed, total = sum(stored), path.stat().st_size
    if claimed > total:
        raise UserError(f"{path}: its parts claim {claimed} bytes, and the whole file has {total}")
    index = next((name for name in archive.namelist() if name.endswith("data.pkl") and not _is_code(name)), None)
    if index is None or archive.getinfo(index).file_size > MAX_BYTES:
        raise UserError(f"{path} has no data.pkl, or one that is too large; expected a file of torch.save")
    reader = _Unpickler(path, archive, index)
    return reader.load(), list(reader.skipped)


def _is_code(part: str) -> bool:
    """Tell whether a part is TorchScript's code, which is compressed and is not read."""
    return "/code/" in part


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
    storages = {np.dtype(STORAGES[name]): name for name in _WRITTEN}
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
