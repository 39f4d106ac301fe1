"""Reads safetensors files: arrays stay in the file until they are read."""

from __future__ import annotations

from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from common.errors import UserError
from common.json_text import parse_json
from interchange.binary import require_file
from interchange.pytorch.checkpoint import show
from interchange.pytorch.tensors import Storage, StorageType, Tensor, range_reader

_STORAGES = {
    "F64": "DoubleStorage",
    "F32": "FloatStorage",
    "F16": "HalfStorage",
    "BF16": "BFloat16Storage",
    "I64": "LongStorage",
    "I32": "IntStorage",
    "I16": "ShortStorage",
    "I8": "CharStorage",
    "U8": "ByteStorage",
    "BOOL": "BoolStorage",
}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the arrays of a file by name; arrays of other types than PyTorch's usual ones are left out.

    Raises:
        UserError: the file is missing or damaged.
    """
    require_file(path, "a safetensors file")
    try:
        with safe_open(path, framework="numpy"):  # the library checks that the arrays fill the file without gaps
            pass
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = parse_json(file.read(length))
        facts = {name: fact for name, fact in header.items() if fact.get("dtype") in _STORAGES}
        return {name: _tensor(path, 8 + length, fact) for name, fact in facts.items()}
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise UserError(f"{path} is not a readable safetensors file ({show(str(error))})") from error


def _tensor(path: Path, data: int, fact: dict) -> Tensor:
    shape, (begin, end) = tuple(fact["shape"]), fact["data_offsets"]
    storage = Storage(StorageType(_STORAGES[fact["dtype"]]), prod(shape), range_reader(path, data + begin, end - begin))
    return Tensor(storage, 0, shape, tuple(prod(shape[axis + 1 :]) for axis in range(len(shape))))
