"""Runs whole networks as three OneFlow ops: training forward, its backward, and inference.

They exist once the kernels are loaded (see ``load_native_kernels``), take local and global CPU tensors, and work
eagerly and in graphs. ``images`` [N, C, H, W] uint8 or float32 and ``keep`` are split over the ranks, arrays are
broadcast, gradients are partial sums.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ops.native.dispatch import dispatch
from ops.native.loader import count_calls, loaded_library_path, open_loaded_library, wait_for_call

if TYPE_CHECKING:
    from oneflow import Tensor

_PREFIX = "insightface_network_"
_ALIGNMENT = 64  # kAlignment of base/alignment.h
Result = TypeVar("Result")


@dataclass(frozen=True)
class NetworkMemory:
    """Bytes that an op takes.

    Attributes:
        block: all that one execution computes, each part only while something still reads it.
        kept: the part of it that the backward pass needs of the forward pass.
        copies: copies of weights in other layouts, kept between executions; inference only.
    """

    block: int
    kept: int
    copies: int


@dataclass(frozen=True)
class NetworkOps:
    """The three ops for one network.

    Attributes:
        description: one line per node, see ``backbones.execution.compiled``.
        embedding_size: numbers of one embedding.
        bfloat16: feature maps and matrix products in bfloat16 with float32 sums; arrays stay float32.
        recompute: training computes most feature maps again in the backward pass instead of keeping them.
    """

    description: str
    embedding_size: int
    bfloat16: bool = False
    recompute: bool = False

    def refusal(self) -> str | None:
        """Return None if this process can execute the network, else the reason why not."""
        if loaded_library_path() is None:
            return "the CPU kernels are not loaded"
        check = open_loaded_library().insightface_check_network
        check.argtypes, check.restype = [ctypes.c_char_p, ctypes.c_int32], ctypes.c_char_p
        reason = check(self.description.encode(), self.bfloat16)
        return None if reason is None else reason.decode(errors="replace")

    def measure_memory(self, batch: int, training: bool = True, parameters: int = 0) -> tuple[NetworkMemory, list[int]]:
        """Return the memory that the op takes for ``batch`` images, and where gradients lie in the block.

        Args:
            batch: images of one rank and call.
            training: both passes, or inference.
            parameters: if above 0, the number of parameters, whose gradients are part of the block
                (``TrainingMemory``); the offsets are in bytes, from the first address in it that 64 divides.

        Raises:
            RuntimeError: this process cannot execute the network.
        """
        measure = open_loaded_library().insightface_network_memory
        flags, results = [ctypes.c_int32] * 3, [ctypes.c_void_p] * 2
        measure.argtypes = [ctypes.c_char_p, ctypes.c_int64, *flags, *results]
        measure.restype = ctypes.c_char_p
        sizes, offsets = (ctypes.c_int64 * 3)(), (ctypes.c_int64 * max(parameters, 1))()
        settings = (self.bfloat16, training, self.recompute)
        reason = measure(self.description.encode(), batch, *settings, sizes, offsets if parameters else None)
        if reason is not None:
            raise RuntimeError(reason.decode(errors="replace"))
        return NetworkMemory(*sizes), offsets[:parameters]

    def forward(
        self,
        images: Tensor,
        keep: Tensor | None,
        parameters: Sequence[Tensor] = (),
        moving: Sequence[Tensor] = (),
        memory: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return embeddings [N, E] float32 and the saved values for ``backward``; updates ``moving`` in place.

        With ``memory``, the reference of a ``TrainingMemory``, arrays and values lie there: ``parameters`` and
        ``moving`` are empty, and a number is saved that only orders execution.
        """
        inputs = {
            "images": [images],
            "keep": _optional(keep),
            "parameters": parameters,
            "moving": moving,
            "memory": _optional(memory),
        }
        return self._dispatch("forward", inputs, {"embeddings": 1, "saved": 1})

    def backward(
        self,
        saved: Tensor,
        embedding_gradients: Tensor,
        keep: Tensor | None,
        parameters: Sequence[Tensor] = (),
        memory: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return the gradient of each parameter, given the ``saved`` values of ``forward``, which it uses up.

        With ``memory``, as in ``forward``, the gradients are written there, and a zero is returned in their place.
        """
        inputs: dict[str, Sequence[Tensor]] = {
            "saved": [saved],
            "embedding_gradients": [embedding_gradients],
            "keep": _optional(keep),
        }
        if memory is not None:
            return self._dispatch("backward_in_place", {**inputs, "memory": [memory]}, {"done": 1})
        inputs["parameters"] = parameters
        return self._dispatch("backward", inputs, {"parameter_gradients": len(parameters)})

    def inference(
        self,
        images: Tensor,
        parameters: Sequence[Tensor] = (),
        moving: Sequence[Tensor] = (),
        memory: Tensor | None = None,
    ) -> Tensor:
        """Return embeddings [N, E] float32, normalised by the moving statistics.

        With ``memory``, the reference of an ``ArrayTable``, the arrays lie there: ``parameters`` and ``moving`` are
        empty.
        """
        inputs = {"images": [images], "parameters": parameters, "moving": moving, "memory": _optional(memory)}
        return self._dispatch("inference", inputs, {"embeddings": 1})[0]

    def sleep_through(self, call: Callable[[], Result], op: str) -> Result:
        """Return the result of ``call``, which runs ``op`` ("backward" or "inference"); sleep until it has finished."""
        calls = count_calls(_PREFIX + op)
        result = call()
        wait_for_call(_PREFIX + op, calls)
        return result

    def _dispatch(self, op: str, inputs: dict[str, Sequence[Tensor]], outputs: dict[str, int]) -> tuple[Tensor, ...]:
        attributes = {
            "description": self.description,
            "bfloat16": self.bfloat16,
            "recompute": self.recompute,
            "embedding_size": self.embedding_size,
        }
        return dispatch(_PREFIX + op, attributes, inputs, outputs)


class ArrayTable:
    """The arrays of a network, which the ops find by one address instead of taking each array as an input.

    A graph of OneFlow compiles an operation for each of its arrays, which takes most of the time to its first run.

    Attributes:
        reference: float64 [1], the table's address, to be passed as ``memory``. A double holds every address exactly,
            and unlike an integer tensor it can have a gradient. That gradient is a zero that only orders execution: it
            exists once the gradients are in the block.
    """

    def __init__(self, parameters: Sequence[Tensor], moving: Sequence[Tensor], block: np.ndarray | None = None) -> None:
        """Refer to local float32 tensors in the order of the op, and with ``block`` to the memory of a training.

        They must stay where they are. OneFlow does not know that the ops read and write them, so eager operations on
        them must have ended (``eager.Sync``) before an op runs.

        Raises:
            ValueError: a tensor is not contiguous float32.
        """
        from ops import flow

        arrays = [*parameters, *moving]
        for array in arrays:
            if array.dtype != flow.float32 or not array.is_contiguous():
                raise ValueError(f"the network op needs contiguous float32, not {array.dtype} {array.stride()}")
        (addresses,) = dispatch("insightface_addresses", {}, {"arrays": arrays}, {"addresses": 1})
        numbers = sum(array.numel() for array in parameters)
        head = [0 if block is None else block.ctypes.data, numbers, len(parameters), len(moving)]
        self._kept = (arrays, block)
        self._table = np.concatenate([head, addresses.numpy()])  # ArrayTable of register_network.cpp, int64
        self.reference = flow.tensor([self._table.ctypes.data], dtype=flow.float64)


class TrainingMemory(ArrayTable):
    """The memory of a training's steps, which the ops use in place instead of returning values and gradients.

    OneFlow would copy each gradient four times on its way out of a graph.

    Attributes:
        gradients: float32 arrays, of the parameters, that share memory with the block; each step overwrites them.
    """

    def __init__(self, ops: NetworkOps, batch: int, parameters: Sequence[Tensor], moving: Sequence[Tensor]) -> None:
        """Allocate for steps of ``batch`` images of one rank; the tensors are those of ``ArrayTable``."""
        memory, offsets = ops.measure_memory(batch, parameters=len(parameters))
        block = np.empty(memory.block, np.uint8)
        super().__init__(parameters, moving, block)
        start = -block.ctypes.data % _ALIGNMENT
        self.gradients = []
        for offset, parameter in zip(offsets, parameters, strict=True):
            part = block[start + offset : start + offset + 4 * parameter.numel()]
            self.gradients.append(part.view(np.float32).reshape(tuple(parameter.shape)))


def _optional(tensor: Tensor | None) -> list[Tensor]:
    return [] if tensor is None else [tensor]
