"""Runs whole networks as three OneFlow ops: training forward, its backward, and inference.

They exist once the kernels are loaded (see ``load_native_kernels``), take local and global CPU tensors, and work
eagerly and in graphs. ``images`` [N, C, H, W] uint8 or float32 and ``keep`` are split over the ranks, arrays are
broadcast, gradients are partial sums. Inference is also a plain function of arrays.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ops.native.dispatch import dispatch
from ops.native.loader import count_calls, loaded_library_path, open_loaded_library, wait_for_call

if TYPE_CHECKING:
    from oneflow import Tensor

_PREFIX = "insightface_network_"
_ALIGNMENT = 64  # kAlignment of base/alignment.h
_versions = itertools.count(1)  # of tables of constant arrays
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
        used_up: one character for each parameter: ``1`` if an update within the backward pass uses its gradient up
            (``TrainingMemory``); may be empty.
    """

    description: str
    embedding_size: int
    bfloat16: bool = False
    recompute: bool = False
    used_up: str = ""

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
        measure.argtypes = [ctypes.c_char_p, ctypes.c_int64, *flags, ctypes.c_char_p, *results]
        measure.restype = ctypes.c_char_p
        sizes, offsets = (ctypes.c_int64 * 3)(), (ctypes.c_int64 * max(parameters, 1))()
        settings = (self.bfloat16, training, self.recompute, self.used_up.encode())
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
        return self._dispatch("forward", inputs, {"embeddings": 1, "saved": 1}, used_up=self.used_up)

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
            inputs["memory"] = [memory]
            return self._dispatch("backward_in_place", inputs, {"done": 1}, used_up=self.used_up)
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

    def infer_directly(self, images: np.ndarray, table: ArrayTable) -> np.ndarray:
        """Return embeddings [N, E] float32 as ``inference`` does, in a plain call.

        OneFlow takes part neither in the call nor in waiting for its end. Eager operations on the arrays of ``table``
        must have ended.

        Args:
            images: uint8 or of numbers that fit float32, [N, C, H, W] or [N, H, W, C].
            table: of the network's arrays.

        Raises:
            RuntimeError: this process cannot execute the network.
        """
        images = np.ascontiguousarray(images, np.uint8 if images.dtype == np.uint8 else np.float32)
        embeddings = np.empty((len(images), self.embedding_size), np.float32)
        infer = open_loaded_library().insightface_network_infer
        pointer, flag = ctypes.c_void_p, ctypes.c_int32
        infer.argtypes = [ctypes.c_char_p, flag, pointer, pointer, flag, pointer, pointer]
        infer.restype = ctypes.c_char_p
        shape = (ctypes.c_int64 * 4)(*images.shape)
        source, target = images.ctypes.data, embeddings.ctypes.data
        are_bytes = images.dtype == np.uint8
        reason = infer(self.description.encode(), self.bfloat16, table.address, source, are_bytes, shape, target)
        if reason is not None:
            raise RuntimeError(reason.decode(errors="replace"))
        return embeddings

    def sleep_through(self, call: Callable[[], Result], op: str) -> Result:
        """Return the result of ``call``, which runs ``op`` ("backward" or "inference"); sleep until it has finished."""
        calls = count_calls(_PREFIX + op)
        result = call()
        wait_for_call(_PREFIX + op, calls)
        return result

    def _dispatch(
        self, op: str, inputs: dict[str, Sequence[Tensor]], outputs: dict[str, int], **further: str
    ) -> tuple[Tensor, ...]:
        attributes = {
            **further,
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
        address: the table's.
        reference: float64 [1], the table's address, to be passed as ``memory``. A double holds every address exactly,
            and unlike an integer tensor it can have a gradient. That gradient is a zero that only orders execution: it
            exists once the gradients are in the block.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        moving: Sequence[Tensor],
        block: np.ndarray | None = None,
        updates: ctypes.Structure | None = None,
        are_constant: bool = False,
    ) -> None:
        """Refer to local float32 tensors in the order of the op, and for a training to its ``block`` and ``updates``.

        They must stay where they are. OneFlow does not know that the ops read and write them, so eager operations on
        them must have ended (``eager.Sync``) before an op runs. If they ``are_constant``, which saves inference to read
        all of them in each call, they never change.

        Raises:
            ValueError: a tensor is not contiguous float32.
        """
        from ops import flow

        arrays = [*parameters, *moving]
        for array in arrays:
            if array.dtype != flow.float32 or not array.is_contiguous():
                raise ValueError(f"the network op needs contiguous float32, not {array.dtype} {array.stride()}")
        numbers = sum(array.numel() for array in parameters)
        memory = [0 if block is None else block.ctypes.data, 0 if updates is None else ctypes.addressof(updates)]
        version = next(_versions) if are_constant else 0
        head = [*memory, numbers, version, len(parameters), len(moving)]
        self._kept = (arrays, block, updates)
        self._table = np.concatenate([head, read_addresses(arrays)])  # ArrayTable of network_inference.h, int64
        self.address = self._table.ctypes.data
        self.reference = flow.tensor([self.address], dtype=flow.float64)


class ParameterUpdate(ctypes.Structure):
    """``ParameterUpdate`` of ``network/plan/updates.h``: SGD's update of one parameter; without momentum it stays."""

    _fields_ = (
        ("momentum", ctypes.c_void_p),
        ("lr", ctypes.c_float),
        ("decay_of_momentum", ctypes.c_float),
        ("weight_decay", ctypes.c_float),
    )


class _Updates(ctypes.Structure):
    """``Updates`` of ``network/plan/updates.h``."""

    _fields_ = (
        ("parameters", ctypes.c_void_p),
        ("measures", ctypes.c_int64),
        ("skipped", ctypes.c_int64),
        ("squares", ctypes.c_double),
    )


class TrainingMemory(ArrayTable):
    """The memory of a training's steps, which the ops use in place instead of returning values and gradients.

    OneFlow would copy each gradient four times on its way out of a graph.

    Gradients that are used up take memory only until the backward pass has updated their parameters, which it does as
    soon as each is complete; ``set_updates`` says how, before each step.

    Attributes:
        gradients: float32 arrays, of the parameters, that share memory with the block; each step overwrites them. None
            for those that are used up.
    """

    def __init__(self, ops: NetworkOps, batch: int, parameters: Sequence[Tensor], moving: Sequence[Tensor]) -> None:
        """Allocate for steps of ``batch`` images of one rank; the tensors are those of ``ArrayTable``."""
        memory, offsets = ops.measure_memory(batch, parameters=len(parameters))
        block = np.empty(memory.block, np.uint8)
        self._parameters = (ParameterUpdate * len(parameters))()
        self._updates = _Updates(ctypes.addressof(self._parameters))
        super().__init__(parameters, moving, block, self._updates if ops.used_up else None)
        start = -block.ctypes.data % _ALIGNMENT
        self.gradients: list[np.ndarray | None] = []
        for number, (offset, parameter) in enumerate(zip(offsets, parameters, strict=True)):
            if ops.used_up[number : number + 1] == "1":
                self.gradients.append(None)
                continue
            part = block[start + offset : start + offset + 4 * parameter.numel()]
            self.gradients.append(part.view(np.float32).reshape(tuple(parameter.shape)))

    def set_updates(self, updates: Mapping[int, ParameterUpdate], measures: bool) -> None:
        """Set how the next step updates parameters, by their numbers; the others whose gradients are used up stay.

        The moments must stay where they are until the step has ended.

        Args:
            updates: by the number of the parameter.
            measures: whether ``squares`` is wanted.
        """
        for number in range(len(self._parameters)):
            self._parameters[number] = updates.get(number, ParameterUpdate())
        self._updates.measures = measures

    @property
    def squares(self) -> float:
        """The sum of the squares of the gradients that the last step used up, if it was wanted."""
        return self._updates.squares


def read_addresses(tensors: Sequence[Tensor]) -> np.ndarray:
    """Return where local tensors lie, int64; fast, as ``numpy()`` takes a millisecond for each."""
    return dispatch("insightface_addresses", {}, {"arrays": tensors}, {"addresses": 1})[0].numpy()


def sum_squares(tensors: Sequence[Tensor]) -> float:
    """Return the sum of the squares of all numbers of local, contiguous float32 tensors, in float64."""
    if not tensors:
        return 0.0
    addresses, counts = read_addresses(tensors), np.array([tensor.numel() for tensor in tensors], np.int64)
    add = open_loaded_library().insightface_sum_squares
    add.argtypes, add.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64], ctypes.c_double
    return add(addresses.ctypes.data, counts.ctypes.data, len(counts))


def _optional(tensor: Tensor | None) -> list[Tensor]:
    return [] if tensor is None else [tensor]
