"""Reads the files that torch.save wrote before torch 1.6, and writes with ``_use_new_zipfile_serialization=False``.

A file is five pickles, the magic number, the version, facts about the machine, the object and the names of its
storages, followed by each storage: the number of its numbers (int64), then the numbers.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

from typing_extensions import override

from common.errors import UserError
from common.pickles import RestrictedUnpickler
from interchange.pytorch.tensors import MAX_BYTES, Storage, StorageType, TensorUnpickler, range_reader

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number
_COUNT = struct.Struct("<q")


class _Finder(TensorUnpickler):
    """Reads the object for the types of its storages, which are not known yet."""

    def __init__(self, content: io.BytesIO) -> None:
        super().__init__(content)
        self.kinds: dict[Any, StorageType] = {}

    @override
    def storage(self, kind: StorageType, key: Any) -> Storage:
        self.kinds[key] = kind
        return Storage(kind, 1 << 62, bytes)


class _Reader(TensorUnpickler):
    def __init__(self, content: io.BytesIO, storages: dict[Any, Storage]) -> None:
        super().__init__(content)
        self._storages = storages

    @override
    def storage(self, kind: StorageType, key: Any) -> Storage:
        return self._storages[key]


def read_legacy(path: Path) -> tuple[Any, list[str]]:
    """Return what was saved, and the names of the classes whose objects were skipped.

    Raises:
        UserError: the file is damaged.
        Exception: it is damaged in any other way.
    """
    with open(path, "rb") as file:
        head = io.BytesIO(file.read(MAX_BYTES))
    magic, version, machine = (RestrictedUnpickler(head).load() for _ in range(3))
    if (magic, version) != (_MAGIC, _VERSION) or not isinstance(machine, dict):
        raise UserError(f"{path} is not a file of torch.save")
    if not machine.get("little_endian", True):
        raise UserError(f"{path} was written on a big-endian machine; save it again on another one")
    start = head.tell()
    finder = _Finder(head)
    finder.load()
    keys = RestrictedUnpickler(head).load()
    storages = _find_storages(path, head.tell(), keys, finder.kinds)
    head.seek(start)
    reader = _Reader(head, storages)
    return reader.load(), list(reader.skipped)


def _find_storages(path: Path, position: int, keys: Any, kinds: dict[Any, StorageType]) -> dict[Any, Storage]:
    if not isinstance(keys, list):
        raise UserError(f"{path} is damaged: it does not list its storages")
    storages, size = {}, path.stat().st_size
    with open(path, "rb") as file:
        for key in keys:
            if key not in kinds:
                raise UserError(f"{path}: its storage {key!r} holds numbers of a type that no network here has")
            file.seek(position)
            (count,) = _COUNT.unpack(file.read(_COUNT.size))
            length = count * kinds[key].dtype.itemsize
            begin = position + _COUNT.size
            position = begin + length
            if count < 0 or position > size:
                raise UserError(f"{path} is cut: a storage reaches to byte {position}, the file ends at {size}")
            storages[key] = Storage(kinds[key], count, range_reader(path, begin, length), str(path))
    return storages
