"""Whole networks as three OneFlow ops of our own: training forward, its backward, inference.

They exist where the kernels are loaded (see ``load_native_kernels``), take local and global CPU tensors, and work eager
and in graphs. ``images`` [N, C, H, W] uint8 or float32 and ``keep`` are split over the ranks, arrays are broadcast,
gradients come as partial sums.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ops.native.loader import count_calls, find_loaded_library, open_loaded_library, wait_for_call

if TYPE_CHECKING:
    from oneflow import Tensor

_PREFIX = "insightface_network_"
Result = TypeVar("Result")


class _Argument(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("count", ctypes.c_int32), ("tensors", ctypes.POINTER(ctypes.c_void_p)))


@dataclass(frozen=True)
class NetworkOps:
    """The three ops for one network.

    Attributes:
        description: one line per node, see ``backbones.compiled``.
        embedding_size: numbers of one embedding.
        bfloat16: feature maps and matrix products in bfloat16 with float32 sums; arrays stay float32.
    """

    description: str
    embedding_size: int
    bfloat16: bool = False

    def refusal(self) -> str | None:
        """Return None when this process can execute the network, else the reason why not."""
        if find_loaded_library() is None:
            return "the CPU kernels are not loaded"
        check = open_loaded_library().insightface_check_network
        check.argtypes, check.restype = [ctypes.c_char_p, ctypes.c_int32], ctypes.c_char_p
        reason = check(self.description.encode(), self.bfloat16)
        return None if reason is None else reason.decode(errors="replace")

    def forward(
        self, images: Tensor, keep: Tensor | None, parameters: Sequence[Tensor], moving: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return embeddings [N, E] float32 and what the backward pass needs; updates ``moving`` in place."""
        inputs = {"images": [images], "keep": _optional(keep), "parameters": parameters, "moving": moving}
        return self._dispatch("forward", inputs, {"embeddings": 1, "saved": 1})

    def backward(
        self, saved: Tensor, embedding_gradients: Tensor, keep: Tensor | None, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Return the gradient of every parameter."""
        inputs = {
            "saved": [saved],
            "embedding_gradients": [embedding_gradients],
            "keep": _optional(keep),
            "parameters": parameters,
        }
        return self._dispatch("backward", inputs, {"parameter_gradients": len(parameters)})

    def inference(self, images: Tensor, parameters: Sequence[Tensor], moving: Sequence[Tensor]) -> Tensor:
        """Return embeddings [N, E] float32, normalised by the moving statistics."""
        inputs = {"images": [images], "parameters": parameters, "moving": moving}
        return self._dispatch("inference", inputs, {"embeddings": 1})[0]

    def sleep_through(self, call: Callable[[], Result], op: str) -> Result:
        """Return the result of ``call``, which lets ``op`` ("backward", "inference") run once, after it has ended."""
        calls = count_calls(_PREFIX + op)
        result = call()
        wait_for_call(_PREFIX + op, calls)
        return result

    def _dispatch(self, op: str, inputs: dict[str, Sequence[Tensor]], outputs: dict[str, int]) -> tuple[Tensor, ...]:
        library = ctypes.PyDLL(open_loaded_library()._name)  # keeps Python's lock, which making tensors needs
        library.insightface_dispatch.restype = ctypes.c_char_p
        taken = {name: tensors for name, tensors in inputs.items() if len(tensors)}
        arrays = [(ctypes.c_void_p * len(tensors))(*map(id, tensors)) for tensors in taken.values()]
        arguments = [_Argument(name.encode(), len(array), array) for name, array in zip(taken, arrays, strict=True)]
        results = (ctypes.c_void_p * sum(outputs.values()))()
        wanted = [_Argument(name.encode(), count, None) for name, count in outputs.items()]
        message = library.insightface_dispatch(
            (_PREFIX + op).encode(),
            self.description.encode(),
            ctypes.c_int32(self.bfloat16),
            ctypes.c_int64(self.embedding_size),
            (_Argument * len(arguments))(*arguments),
            ctypes.c_int32(len(arguments)),
            (_Argument * len(wanted))(*wanted),
            ctypes.c_int32(len(wanted)),
            sys.modules["oneflow._oneflow_internal"].__file__.encode(),
            results,
        )
        if message is not None:
            raise RuntimeError(message.decode(errors="replace"))
        return tuple(_take(pointer) for pointer in results)


def _optional(tensor: Tensor | None) -> list[Tensor]:
    return [] if tensor is None else [tensor]


def _take(pointer: int) -> Tensor:
    """Return the Python object behind a new reference, which becomes the returned one."""
    tensor = ctypes.cast(pointer, ctypes.py_object).value
    ctypes.pythonapi.Py_DecRef(ctypes.py_object(tensor))
    return tensor
