"""Write files as torch.save does, without PyTorch: any Python object, with numpy arrays in place of tensors."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

_NAMES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


def _named(module: types.ModuleType, name: str) -> type:
    made = type(name, (), {"__module__": module.__name__})
    setattr(module, name, made)
    return made


_TORCH, _UTILS, _CONTAINER = (
    types.ModuleType(name) for name in ("torch", "torch._utils", "torch.nn.modules.container")
)
_STORAGES = {kind: _named(_TORCH, name) for kind, name in _NAMES.items()}
_REBUILD = _named(_UTILS, "_rebuild_tensor_v2")
Module = _named(_CONTAINER, "Sequential")


def make_module(**parts: Any) -> Any:
    """Return what a pickled module looks like: arrays are its parameters, other modules its parts."""
    module = Module()
    arrays = {name: part for name, part in parts.items() if isinstance(part, np.ndarray)}
    module.__dict__ = {
        "training": False,
        "_parameters": OrderedDict(arrays),
        "_buffers": OrderedDict(),
        "_modules": OrderedDict({name: part for name, part in parts.items() if name not in arrays}),
    }
    return module


class _Storage:
    def __init__(self, array: np.ndarray) -> None:
        self.array = array


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, 2)
        self.storages: list[np.ndarray] = []

    @override
    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _Storage):
            return None
        self.storages.append(obj.array)
        key = str(len(self.storages) - 1)
        return ("storage", _STORAGES[obj.array.dtype.name], key, "cpu", obj.array.size)

    @override
    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, np.ndarray):
            return NotImplemented
        steps = tuple(step // obj.itemsize for step in np.ascontiguousarray(obj).strides)
        return _REBUILD, (_Storage(np.ascontiguousarray(obj)), 0, obj.shape, steps[: obj.ndim], False, OrderedDict())


def save(path: Path, content: Any, legacy: bool = False) -> Path:
    """Write ``content`` as torch.save does, with ``legacy`` as before torch 1.6."""
    index = io.BytesIO()
    pickler = _Pickler(index)
    with pytest.MonkeyPatch.context() as patch:
        for module in (_TORCH, _UTILS, _CONTAINER):
            patch.setitem(sys.modules, module.__name__, module)
        pickler.dump(content)
    if legacy:
        keys = [str(number) for number in range(len(pickler.storages))]
        machine = {"protocol_version": _VERSION, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
        parts = [*(pickle.dumps(part, 2) for part in (_MAGIC, _VERSION, machine)), index.getvalue()]
        parts.append(pickle.dumps(keys, 2))
        parts += [struct.pack("<q", array.size) + array.tobytes() for array in pickler.storages]
        path.write_bytes(b"".join(parts))
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", index.getvalue())
        for number, array in enumerate(pickler.storages):
            archive.writestr(f"archive/data/{number}", array.tobytes())
    return path
