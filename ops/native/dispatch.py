"""Calls the kernels' own ops, for which OneFlow's Python package has no functions, on local or global tensors."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ops.native.loader import open_loaded_library

if TYPE_CHECKING:
    from oneflow import Tensor


class _Argument(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("count", ctypes.c_int32), ("tensors", ctypes.POINTER(ctypes.c_void_p)))


class _Attribute(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_char),
        ("number", ctypes.c_int64),
        ("real", ctypes.c_double),
        ("text", ctypes.c_char_p),
    )


def dispatch(
    op: str,
    attributes: Mapping[str, bool | int | float | str],
    inputs: Mapping[str, Sequence[Tensor]],
    outputs: Mapping[str, int],
) -> tuple[Tensor, ...]:
    """Run an op, eagerly or in the graph that is being built, and return its outputs.

    Args:
        op: the name of the op.
        attributes: values of exactly the types that the op declares.
        inputs: the tensors of each named input; an input without tensors is omitted.
        outputs: the number of tensors of each named output.

    Raises:
        RuntimeError: OneFlow rejects the call; the message is OneFlow's.
    """
    library = ctypes.PyDLL(
        open_loaded_library()._name
    )  # PyDLL keeps the interpreter lock, which creating tensors needs
    library.insightface_dispatch.restype = ctypes.c_char_p
    given = {name: tensors for name, tensors in inputs.items() if len(tensors)}
    arrays = [(ctypes.c_void_p * len(tensors))(*map(id, tensors)) for tensors in given.values()]
    arguments = [_Argument(name.encode(), len(array), array) for name, array in zip(given, arrays, strict=True)]
    results = (ctypes.c_void_p * sum(outputs.values()))()
    wanted = [_Argument(name.encode(), count, None) for name, count in outputs.items()]
    settings = [_attribute(name, value) for name, value in attributes.items()]
    message = library.insightface_dispatch(
        op.encode(),
        (_Attribute * len(settings))(*settings),
        ctypes.c_int32(len(settings)),
        (_Argument * len(arguments))(*arguments),
        ctypes.c_int32(len(arguments)),
        (_Argument * len(wanted))(*wanted),
        ctypes.c_int32(len(wanted)),
        sys.modules["oneflow._oneflow_internal"].__file__.encode(),
        results,
    )
    if message is not None:
        raise RuntimeError(message.decode(errors="replace"))
    return tuple(_from_new_reference(pointer) for pointer in results)


def _attribute(name: str, value: bool | int | float | str) -> _Attribute:
    if isinstance(value, str):
        return _Attribute(name.encode(), b"s", 0, 0.0, value.encode())
    if isinstance(value, float):
        return _Attribute(name.encode(), b"f", 0, value, None)
    return _Attribute(name.encode(), b"b" if isinstance(value, bool) else b"i", value, 0.0, None)


def _from_new_reference(pointer: int) -> Tensor:
    """Return the Python object of a new reference, which the returned value takes over."""
    tensor = ctypes.cast(pointer, ctypes.py_object).value
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(tensor))
    return tensor
