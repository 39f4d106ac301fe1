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

from ops.native.dispatch import dispatch
from ops.native.loader import count_calls, loaded_library_path, open_loaded_library, wait_for_call

if TYPE_CHECKING:
    from oneflow import Tensor

_PREFIX = "insightface_network_"
Result = TypeVar("Result")


@dataclass(frozen=True)
class NetworkOps:
    """The three ops for one network.

    Attributes:
        description: one line per node, see ``backbones.execution.compiled``.
        embedding_size: numbers of one embedding.
        bfloat16: feature maps and matrix products in bfloat16 with float32 sums; arrays stay float32.
    """

    description: str
    embedding_size: int
    bfloat16: bool = False

    def refusal(self) -> str | None:
        """Return None if this process can execute the network, else the reason why not."""
        if loaded_library_path() is None:
            return "the CPU kernels are not loaded"
        check = open_loaded_library().insightface_check_network
        check.argtypes, check.restype = [ctypes.c_char_p, ctypes.c_int32], ctypes.c_char_p
        reason = check(self.description.encode(), self.bfloat16)
        return None if reason is None else reason.decode(errors="replace")

    def forward(
        self, images: Tensor, keep: Tensor | None, parameters: Sequence[Tensor], moving: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return embeddings [N, E] float32 and the saved values for ``backward``; updates ``moving`` in place."""
        inputs = {"images": [images], "keep": _optional(keep), "parameters": parameters, "moving": moving}
        return self._dispatch("forward", inputs, {"embeddings": 1, "saved": 1})

    def backward(
        self, saved: Tensor, embedding_gradients: Tensor, keep: Tensor | None, parameters: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Return the gradient of each parameter, given the ``saved`` values of ``forward``."""
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
        """Return the result of ``call``, which runs ``op`` ("backward" or "inference"); sleep until it has finished."""
        calls = count_calls(_PREFIX + op)
        result = call()
        wait_for_call(_PREFIX + op, calls)
        return result

    def _dispatch(self, op: str, inputs: dict[str, Sequence[Tensor]], outputs: dict[str, int]) -> tuple[Tensor, ...]:
        attributes = {"description": self.description, "bfloat16": self.bfloat16, "embedding_size": self.embedding_size}
        return dispatch(_PREFIX + op, attributes, inputs, outputs)


def _optional(tensor: Tensor | None) -> list[Tensor]:
    return [] if tensor is None else [tensor]
