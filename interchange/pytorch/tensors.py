"""Unpickles PyTorch's objects without PyTorch: tensors stay in their file until they are read, nothing is executed.

A pickle may hold objects of any class. Containers and tensors are rebuilt; every other object becomes a ``Skipped``,
which keeps its state alone: the arrays of a pickled module are there.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from typing_extensions import override

from common.errors import UserError
from common.pickles import DamagedError, RestrictedUnpickler

STORAGES = {
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
_MAX_KIND = 200  # characters of a class's name; a message may quote it
_MAX_CLASSES = 1000  # that an index may name; each takes a kilobyte of memory


class StorageType:
    """The type of a storage, by PyTorch's name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dtype = np.dtype(STORAGES[name])


def range_reader(path: Path, begin: int, length: int) -> Callable[[], bytes]:
    """Return a function that reads ``length`` bytes of a file from ``begin``."""

    def read() -> bytes:
        with open(path, "rb") as file:
            file.seek(begin)
            return file.read(length)

    return read


class Storage:
    """The numbers that one or more tensors share, read when they are first needed."""

    def __init__(self, kind: StorageType, count: int, read: Callable[[], bytes], source: str = "") -> None:
        """Describe ``count`` numbers; ``read`` returns their bytes, ``source`` is the file for messages."""
        self.kind = kind
        self.count = count
        self._read = read
        self._source = source

    @cached_property
    def numbers(self) -> np.ndarray:
        """All numbers, 1-d; bfloat16 as float32.

        Raises:
            UserError: the file is damaged there.
        """
        try:
            numbers = np.frombuffer(self._read(), self.kind.dtype, self.count)
        except UserError:
            raise
        except Exception as error:  # a damaged file can raise almost anything
            raise UserError(f"{self._source} is damaged ({type(error).__name__}: {str(error)[:_MAX_KIND]})") from error
        if self.kind.name != "BFloat16Storage":
            return numbers
        return (numbers.astype(np.uint32) << 16).view(np.float32)


class Tensor:
    """A tensor in a file; ``np.asarray`` reads it.

    Attributes:
        shape: its shape.
        dtype: the type of its numbers, float32 for bfloat16.
    """

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
        """Describe a view of ``storage``; ``offset`` and ``stride`` count numbers.

        Raises:
            ValueError: the tensor reaches beyond the storage.
        """
        if not all(type(number) is int for number in (offset, *shape, *stride)):
            raise ValueError(f"a tensor has shape {shape} and strides {stride}")
        if len(shape) != len(stride) or min((offset, *shape, *stride), default=0) < 0:
            raise ValueError(f"a tensor has shape {shape} and strides {stride}")
        last = offset + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
        if prod(shape) and (last >= storage.count or prod(shape) > storage.count):
            raise ValueError(f"a tensor of shape {shape} reaches beyond its storage of {storage.count} numbers")
        self.shape = shape
        self.dtype = np.dtype(np.float32) if storage.kind.name == "BFloat16Storage" else storage.kind.dtype
        self._storage = storage
        self._offset = offset
        self._stride = stride

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the numbers."""
        if not prod(self.shape):
            return np.empty(self.shape, dtype or self.dtype)
        numbers = self._storage.numbers
        steps = [step * numbers.itemsize for step in self._stride]
        values = as_strided(numbers[self._offset :], self.shape, steps)
        return values if dtype is None else values.astype(dtype)


Array = np.ndarray | Tensor


class Skipped:
    """An object of a class that is not loaded.

    Attributes:
        kind: its class, as the pickle names it.
        state: what its ``__setstate__`` would get.
    """

    kind = ""
    state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> Skipped:
        """Ignore the arguments of the class."""
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore an entry of a mapping."""

    def append(self, value: Any) -> None:
        """Ignore an entry of a list."""

    def extend(self, values: Any) -> None:
        """Ignore entries of a list."""

    def add(self, value: Any) -> None:
        """Ignore an entry of a set."""


class TensorUnpickler(RestrictedUnpickler):
    """Reads the index of a file; a subclass says where the storages are.

    Attributes:
        skipped: the classes whose objects were skipped, by name.
    """

    def __init__(self, content: bytes | io.BytesIO) -> None:
        super().__init__(content)
        self.skipped: dict[str, type[Skipped]] = {}

    @override
    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.cuda") and name in STORAGES:
            return StorageType(name)
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        kind = f"{module}.{name}"[:_MAX_KIND]
        if kind not in self.skipped:
            if len(self.skipped) == _MAX_CLASSES:
                raise DamagedError(f"it names more than {_MAX_CLASSES} classes")
            self.skipped[kind] = type("Skipped", (Skipped,), {"kind": kind})
        return self.skipped[kind]

    @override
    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or not pid:
            raise DamagedError("a storage has no description")
        if pid[0] == "module":  # before torch 1.6: a class with its source text
            return pid[1]
        _, kind, key, _, _, *view = pid
        if not isinstance(kind, StorageType) or (view and view[0] is not None):
            return Skipped()
        return self.storage(kind, key)

    def storage(self, kind: StorageType, key: Any) -> Storage:
        """Return the storage of this name."""
        raise NotImplementedError


def _rebuild(storage: Any, offset: int, shape: tuple, stride: tuple, *_: Any) -> Tensor | Skipped:
    if isinstance(storage, Skipped):  # of a type that no network here has
        return storage
    if not isinstance(storage, Storage):
        raise ValueError(f"a tensor lies in a {type(storage).__name__}, not in a storage")
    return Tensor(storage, offset, tuple(shape), tuple(stride))


def _first(tensor: Any, *_: Any) -> Any:
    return tensor


def _rebuild_from_type(rebuild: Any, _: Any, arguments: tuple, *__: Any) -> Any:
    return _rebuild(*arguments) if rebuild is _rebuild else Skipped()


_KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
}
