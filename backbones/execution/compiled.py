"""Run a network as one op on the CPU, instead of one op per node.

The op stores feature maps channels-last and fuses layers. Names, shapes and arrays are those of the description, and
the numbers agree up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from backbones.graph.masks import Mask
from backbones.graph.network_graph import NetworkGraph, Node
from ops import flow
from ops.native.network import ArrayTable, NetworkOps, ParameterUpdate, TrainingMemory
from ops.runtime.tensors import local_view


class CompiledNetwork:
    """Runs a network with its arrays in order: ``parameters`` are trainable, ``moving`` are statistics.

    The op requires one slope per channel and a bias in every fully connected layer. For a network with one slope for
    all channels, or without a bias, equal slopes or zeros are passed.

    Attributes:
        moving: MXNet names of the moving statistics.
    """

    def __init__(
        self,
        network: NetworkGraph,
        masks: Mapping[str, Mask],
        bfloat16: bool = False,
        freeze_bn: bool = False,
        recompute: bool = False,
    ) -> None:
        """``masks`` holds the columns of each dropout node in the keep mask.

        With ``freeze_bn`` BatchNorm normalises by the moving statistics in training too, and does not change them.
        """
        specs = network.parameters()
        self._trainable = [name for name, spec in specs.items() if spec.trainable]
        self.moving = [name for name, spec in specs.items() if spec.auxiliary]
        self._shared = {
            node.arrays["slope"]: network.shapes[node.name][0]
            for node in network.nodes
            if node.op == "prelu" and node.attrs["shared"]
        }
        self._slopes: dict[str, flow.Tensor] = {}  # those of ``_shared`` as the op takes them
        self._freeze_bn = freeze_bn
        self._biasless = [node for node in network.nodes if node.op == "fully_connected" and not node.attrs["bias"]]
        self.ops = NetworkOps(self._describe(network, masks), network.embedding_size, bfloat16, recompute)
        # Without the nodes that only training executes, so that inference computes residual units as one layer.
        self._inference = replace(self.ops, description=self._describe(network, masks, skipped=("drop_path",)))
        self._in_place = self.ops  # as the memory was allocated

    def op_parameters(self, module: flow.nn.Module) -> list[flow.Tensor]:
        """Return the trainable arrays of ``module`` in the order and the form that the op requires."""
        tensors = []
        for name in self._trainable:
            tensor = getattr(module, name)
            tensors.append(tensor.expand(self._shared[name]) if name in self._shared else tensor)
        weights = (getattr(module, node.arrays["weight"]) for node in self._biasless)
        return tensors + [weight.detach().sum(dim=1) * 0 for weight in weights]

    def refer(self, module: flow.nn.Module, are_constant: bool = False) -> ArrayTable:
        """Return a table of the arrays of ``module``, valid as long as they stay where they are, or as they are."""
        return ArrayTable(*self._op_arrays(module), are_constant=are_constant)

    def updatable(self, names: Collection[str]) -> list[str]:
        """Return those of the arrays ``names`` that the op can update itself: it takes them as they are."""
        return [name for name in self._trainable if name in names and name not in self._shared]

    def allocate_memory(
        self, module: flow.nn.Module, batch: int, updated: Collection[str], dropped: Collection[str]
    ) -> TrainingMemory:
        """Return memory for training steps of ``batch`` local images with the arrays of ``module``.

        The op updates the arrays ``updated`` in the backward pass; ``dropped`` are those whose gradients nothing needs.
        """
        parameters, moving = self._op_arrays(module)
        used_up = ""
        if updated:
            used_up = "".join("01"[name in updated or name in dropped] for name in self._trainable)
            used_up = used_up.ljust(len(parameters), "1")  # the zeros that stand for missing biases
        self._in_place = replace(self.ops, used_up=used_up)
        return TrainingMemory(self._in_place, batch, parameters, moving)

    def set_updates(self, memory: TrainingMemory, updates: Mapping[str, ParameterUpdate], measures: bool) -> None:
        """Set how the next step updates the arrays that it was allocated to update; see ``TrainingMemory``."""
        numbers = {name: number for number, name in enumerate(self._trainable)}
        memory.set_updates({numbers[name]: update for name, update in updates.items()}, measures)

    def _op_arrays(self, module: flow.nn.Module) -> tuple[list[flow.Tensor], list[flow.Tensor]]:
        """Return this rank's parameters and moving statistics in the order and the form that the op requires.

        They share the memory of those of ``module``; what it has in another form is a copy, see ``refresh``.
        """
        own = {name: local_view(getattr(module, name)) for name in (*self._trainable, *self.moving)}
        device = next(iter(own.values())).device  # of this rank: the op that reads addresses takes one device's alone
        self._slopes = self._slopes or {
            name: flow.empty(channels, device=device) for name, channels in self._shared.items()
        }
        self.refresh(module)
        parameters = [self._slopes.get(name, own[name]) for name in self._trainable]
        zeros = [flow.zeros(len(own[node.arrays["weight"]]), device=device) for node in self._biasless]
        return parameters + zeros, [own[name] for name in self.moving]

    def refresh(self, module: flow.nn.Module) -> None:
        """Bring the copies in the tables up to date with the arrays of ``module``, and end all changes of arrays."""
        for name, slopes in self._slopes.items():
            slopes.copy_(local_view(getattr(module, name)).expand(len(slopes)))
        flow._oneflow_internal.eager.Sync()

    def read_gradients(self, memory: TrainingMemory) -> dict[str, np.ndarray]:
        """Return the gradients of the trainable arrays that are not used up, in their order, by name.

        Most share the memory's block.
        """
        gradients = dict(zip(self._trainable, memory.gradients, strict=False))
        return {
            name: array.sum(keepdims=True) if name in self._shared else array
            for name, array in gradients.items()
            if array is not None
        }

    def train_in_place(self, images: flow.Tensor, keep: flow.Tensor | None, memory: flow.Tensor) -> flow.Tensor:
        """Return embeddings [N, E]; autograd propagates through them to ``memory``, the reference of a memory."""
        ops, kept = self._in_place, [] if keep is None else [keep]

        class Training(flow.autograd.Function):
            @staticmethod
            def forward(ctx: Any, memory: flow.Tensor) -> flow.Tensor:
                embeddings, saved = ops.forward(images, keep, memory=memory)
                ctx.save_for_backward(saved, memory, *kept)
                return embeddings

            @staticmethod
            def backward(ctx: Any, gradients: flow.Tensor) -> flow.Tensor:
                saved, memory, *kept = ctx.saved_tensors
                return ops.backward(saved, gradients, kept[0] if kept else None, memory=memory)[0]

        return Training.apply(memory)

    def train(
        self,
        images: flow.Tensor,
        keep: flow.Tensor | None,
        parameters: Sequence[flow.Tensor],
        moving: Sequence[flow.Tensor],
    ) -> flow.Tensor:
        """Return embeddings [N, E]; autograd propagates through them to ``parameters``."""
        ops, masked = self.ops, keep is not None
        calls: list[int] = []

        class Training(flow.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *_: flow.Tensor) -> flow.Tensor:
                embeddings, saved = ops.forward(images, keep, parameters, moving)
                ctx.save_for_backward(saved, *parameters, *([keep] if masked else []))
                return embeddings

            @staticmethod
            def backward(ctx: Any, gradients: flow.Tensor) -> tuple[flow.Tensor, ...]:
                if gradients.is_eager and calls:
                    raise RuntimeError(
                        "a backward pass uses up what its forward pass saved; run the forward pass again"
                    )
                calls.append(1)
                saved, *tensors = ctx.saved_tensors
                arrays = tensors[: len(parameters)]
                return ops.backward(saved, gradients, tensors[-1] if masked else None, arrays)

        return Training.apply(*parameters)

    def infer(
        self, images: flow.Tensor, parameters: Sequence[flow.Tensor], moving: Sequence[flow.Tensor]
    ) -> flow.Tensor:
        """Return embeddings [N, E] in inference mode."""
        with flow.no_grad():
            return self._inference.inference(images, parameters, moving)

    def infer_in_place(self, images: flow.Tensor, table: flow.Tensor) -> flow.Tensor:
        """Return embeddings [N, E] in inference mode by the arrays of ``table``, the reference of a table."""
        with flow.no_grad():
            return self._inference.inference(images, memory=table)

    def direct_inference(self, module: flow.nn.Module, are_constant: bool) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from images to embeddings [N, E] by the arrays of ``module``, without OneFlow.

        It is valid as long as they stay where they are, and if they ``are_constant``, as they are.
        """
        table = self.refer(module, are_constant)

        def embed(images: np.ndarray) -> np.ndarray:
            if not are_constant:
                self.refresh(module)
            return self._inference.infer_directly(images, table)

        return embed

    def _describe(self, network: NetworkGraph, masks: Mapping[str, Mask], skipped: Collection[str] = ()) -> str:
        nodes, numbers = [], {}
        for node in network.nodes:
            if node.op in skipped:
                numbers[node.name] = numbers[node.inputs[0]]
            else:
                numbers[node.name] = len(nodes)
                nodes.append(node)
        zeros = [f"{node.name}_bias" for node in self._biasless]
        places = {name: i for names in (self._trainable + zeros, self.moving) for i, name in enumerate(names)}

        def line(node: Node) -> str:
            shape = (*network.shapes[node.name], 1, 1)[:3]
            # The flags are omitted: the number of an array determines its role.
            values = {
                k: float(v) for k, v in node.attrs.items() if isinstance(v, int | float) and not isinstance(v, bool)
            }
            values |= {kind: places[name] for kind, name in node.arrays.items() if name in places}
            if node.op == "fully_connected":
                values["bias"] = places[f"{node.name}_bias"]
            elif node.op == "batch_norm" and self._freeze_bn:
                values["constant"] = 1.0
            elif node.op in ("dropout", "drop_path"):
                values["first"] = masks[node.name].start
            inputs = ",".join(str(numbers[name]) for name in node.inputs) or "-"
            return " ".join(
                [node.layer, inputs, *map(str, shape), *(f"{key}={value!r}" for key, value in values.items())]
            )

        return "\n".join(map(line, nodes))
