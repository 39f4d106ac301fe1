"""A network as one op on the CPU, instead of one op per node.

The op keeps feature maps channels last, fuses what can be computed together, and does not change the network: names,
shapes and arrays are those of the description, and the numbers agree but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backbones.graph import NetworkGraph, Node
from ops import flow
from ops.native.network import NetworkOps

_ARRAYS = ("weight", "bias", "gamma", "beta", "moving_mean", "moving_var")


class CompiledNetwork:
    """Runs a network with all its arrays in order: ``parameters`` what an optimiser moves, ``moving`` the statistics.

    Attributes:
        parameters: MXNet names of the trainable arrays the op takes.
        moving: MXNet names of the moving statistics.
    """

    def __init__(self, network: NetworkGraph, dropouts: dict[str, tuple[int, int]], bfloat16: bool = False) -> None:
        """``dropouts`` holds the columns of the keep mask that each dropout node has."""
        specs = network.parameters()
        self.parameters = [name for name, spec in specs.items() if spec.trainable]
        self.moving = [name for name, spec in specs.items() if spec.auxiliary]
        self.ops = NetworkOps(self._describe(network, dropouts), network.embedding_size, bfloat16)

    def train(
        self,
        images: flow.Tensor,
        keep: flow.Tensor | None,
        parameters: Sequence[flow.Tensor],
        moving: Sequence[flow.Tensor],
    ) -> flow.Tensor:
        """Return embeddings [N, E] that autograd can follow back to ``parameters``."""
        ops, masked = self.ops, keep is not None

        class Training(flow.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *_: flow.Tensor) -> flow.Tensor:
                embeddings, saved = ops.forward(images, keep, parameters, moving)
                ctx.save_for_backward(saved, *parameters, *([keep] if masked else []))
                return embeddings

            @staticmethod
            def backward(ctx: Any, gradients: flow.Tensor) -> tuple[flow.Tensor, ...]:
                saved, *tensors = ctx.saved_tensors
                arrays = tensors[: len(parameters)]
                return ops.backward(saved, gradients, tensors[-1] if masked else None, arrays)

        return Training.apply(*parameters)

    def infer(
        self, images: flow.Tensor, parameters: Sequence[flow.Tensor], moving: Sequence[flow.Tensor]
    ) -> flow.Tensor:
        """Return embeddings [N, E] of a network that is not trained."""
        with flow.no_grad():
            return self.ops.inference(images, parameters, moving)

    def _describe(self, network: NetworkGraph, dropouts: dict[str, tuple[int, int]]) -> str:
        numbers = {node.name: i for i, node in enumerate(network.nodes)}
        places = {name: i for names in (self.parameters, self.moving) for i, name in enumerate(names)}

        def line(node: Node) -> str:
            shape = (*network.shapes[node.name], 1, 1)[:3]
            # Not the flags: what an array is there for, is said by its number.
            values = {
                k: float(v) for k, v in node.attrs.items() if isinstance(v, int | float) and not isinstance(v, bool)
            }
            values |= {kind: places[f"{node.name}_{kind}"] for kind in _ARRAYS if f"{node.name}_{kind}" in places}
            op = node.op
            if op == "activation":
                op = node.attrs["kind"]
            elif op == "prelu":
                values["slope"] = values.pop("gamma")
            elif op == "dropout":
                values["first"] = dropouts[node.name][0]
            inputs = ",".join(str(numbers[name]) for name in node.inputs) or "-"
            return " ".join([op, inputs, *map(str, shape), *(f"{key}={value!r}" for key, value in values.items())])

        return "\n".join(map(line, network.nodes))
