"""The OneFlow module that executes a network description."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from backbones.arrays import check_arrays
from backbones.compiled import CompiledNetwork
from backbones.graph import AUXILIARY_KINDS, NetworkGraph, Node
from backbones.rank_norm import normalise
from common.errors import UserError
from ops import flow


class Backbone(flow.nn.Module):
    """Images to embeddings, node by node, or on the CPU by one op where that is available.

    Parameters and moving statistics are registered flat under their MXNet names, so ``state_dict``, optimiser state
    and files share one set of names. Gammas pinned by fix_gamma are buffers: no optimiser moves or decays them.

    Attributes:
        network: the description.
        executor: a few words on how CPU tensors are computed.
        new_statistics: with BatchNorm over all ranks, the moving statistics that the last forward pass in training
            computed, by name; whoever compiles a graph returns them from it and hands them to ``set_statistics``.
            Otherwise empty: the statistics are each rank's own and change in place.
    """

    def __init__(
        self,
        network: NetworkGraph,
        arrays: Mapping[str, np.ndarray],
        native: bool = True,
        bfloat16: bool = False,
        sync_bn: bool = False,
    ) -> None:
        """Take the description and its first values (see ``load_arrays`` for what is checked).

        Args:
            network: what to execute.
            arrays: parameters and moving statistics by MXNet name.
            native: execute CPU tensors by the network op of ``backbones.compiled`` where it is available.
            bfloat16: feature maps and matrix products in bfloat16; by the network op only.
            sync_bn: BatchNorm over the global batch in training, of global tensors, where there is more than one rank.

        Raises:
            UserError: an array does not fit, or bfloat16 is not available here.
        """
        super().__init__()
        self.network = network
        self._releases = _find_releases(network)
        self._dropouts = _find_dropouts(network)
        for name, spec in network.parameters().items():
            tensor = flow.zeros(*spec.shape, dtype=flow.float32)
            if spec.trainable:
                self.register_parameter(name, flow.nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)
        self.new_statistics: dict[str, flow.Tensor] = {}
        self._statistics_of_all = (
            sync_bn and flow.env.get_world_size() > 1 and any(node.op == "batch_norm" for node in network.nodes)
        )
        self._compiled, refusal = self._compile(bfloat16) if native else (None, "it is switched off")
        if bfloat16 and refusal:
            raise UserError(f"bfloat16 feature maps need the CPU's network op: {refusal}")
        self.executor = f"one op per node ({refusal})" if refusal else f"one op on the CPU{', bfloat16' * bfloat16}"
        self.load_arrays(arrays)

    def _compile(self, bfloat16: bool) -> tuple[CompiledNetwork | None, str | None]:
        if self._statistics_of_all:
            return None, "BatchNorm is over all ranks"
        compiled = CompiledNetwork(self.network, self._dropouts, bfloat16)
        refusal = compiled.ops.refusal()
        return (compiled, None) if refusal is None else (None, refusal)

    @property
    def dropout_width(self) -> int:
        """Values per image that dropout decides about in training; 0 for a network without dropout."""
        return max((stop for _, stop in self._dropouts.values()), default=0)

    def forward(self, images: flow.Tensor, keep: flow.Tensor | None = None) -> flow.Tensor:
        """Return embeddings [N, E] float32 of RGB ``images`` [N, 3, S, S], float32 or uint8, values 0..255.

        Local and global tensors, eager and inside nn.Graph. In training, ``keep`` [N, dropout_width] says with 1 and 0
        which values dropout keeps: the caller draws it, so that a resumed run or another number of ranks repeats it.
        """
        if self.training and keep is None and self.dropout_width:
            raise ValueError("a network with dropout trains only with a keep mask")
        if self._compiled is not None and _is_on_cpu(images):
            return self._run_compiled(images, keep)
        images = images.to(self._dtype())
        values: dict[str, flow.Tensor] = {}
        if self.training:
            self.new_statistics.clear()
        for node in self.network.nodes:
            inputs = [values[name] for name in node.inputs]
            if node.op == "input":
                values[node.name] = images
            elif node.op == "dropout":
                values[node.name] = self._dropout(node, *inputs, keep)
            else:
                values[node.name] = OPERATORS[node.op](self, node, *inputs)
            for name in self._releases[node.name]:
                del values[name]
        return values[self.network.output]

    def _dtype(self) -> flow.dtype:
        """Return the type of the arrays: float32 unless somebody converted the module."""
        return next((getattr(self, name).dtype for name in self.network.parameters()), flow.float32)

    def _run_compiled(self, images: flow.Tensor, keep: flow.Tensor | None) -> flow.Tensor:
        compiled = self._compiled
        parameters = [getattr(self, name) for name in compiled.parameters]
        moving = [getattr(self, name) for name in compiled.moving]
        if self.training:
            return compiled.train(images, keep if self.dropout_width else None, parameters, moving)
        return compiled.infer(images, parameters, moving)

    def _dropout(self, node: Node, x: flow.Tensor, keep: flow.Tensor | None) -> flow.Tensor:
        if not self.training:
            return x
        start, stop = self._dropouts[node.name]
        mask = keep[:, start:stop].reshape(*x.shape).to(x.dtype)
        return x * mask * (1 / (1 - node.attrs["p"]))

    def run_graph(self, graph: flow.nn.Graph, *inputs: flow.Tensor) -> Any:
        """Call a graph of this backbone; a graph that trains it includes the backward pass.

        Where the network op runs, the calling thread sleeps meanwhile: OneFlow's own waiting keeps a core busy.
        """
        if self._compiled is None or not _is_on_cpu(inputs[0]):
            return graph(*inputs)
        return self._compiled.ops.sleep_through(lambda: graph(*inputs), "backward" if self.training else "inference")

    def set_statistics(self, values: Sequence[flow.Tensor]) -> None:
        """Make ``values``, in the order of ``new_statistics`` and broadcast, the moving statistics."""
        for name, value in zip(self.new_statistics, values, strict=True):
            _local(getattr(self, name)).copy_(_local(value))

    def named_tensors(self) -> dict[str, flow.Tensor]:
        """Return the live parameter or buffer behind each MXNet name; the description says which are trainable."""
        return {name: getattr(self, name) for name in self.network.parameters()}

    def named_arrays(self) -> dict[str, np.ndarray]:
        """Return a float32 copy of every array by MXNet name.

        A global tensor must be broadcast; each rank then copies its own part without talking to the others.
        """
        return {name: _local(tensor).numpy().copy() for name, tensor in self.named_tensors().items()}

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Copy ``arrays`` into the module in place, so that graphs compiled from it see them in their next call.

        Gammas pinned by fix_gamma become 1 whatever ``arrays`` holds. Nothing is written unless everything fits.

        Raises:
            UserError: an array is missing, unknown or of another shape; the message names the first one.
        """
        check_arrays(self.network, arrays)
        for name, spec in self.network.parameters().items():
            values = np.ones(spec.shape) if spec.fixed else arrays[name]
            target = _local(getattr(self, name))
            source = flow.tensor(np.asarray(values, dtype=np.float32), device=target.device)
            target.copy_(source)


def _is_on_cpu(tensor: flow.Tensor) -> bool:
    return (tensor.placement if tensor.is_global else tensor.device).type == "cpu"


def _local(tensor: flow.Tensor) -> flow.Tensor:
    """Return a view without gradient on this rank's part of ``tensor``."""
    return (tensor.to_local() if tensor.is_global else tensor).detach()


def _find_releases(network: NetworkGraph) -> dict[str, list[str]]:
    """Return for each node the values that nobody needs after it, so that inference keeps few feature maps alive."""
    last_use = {name: node.name for node in network.nodes for name in node.inputs}
    releases: dict[str, list[str]] = {node.name: [] for node in network.nodes}
    for name, user in last_use.items():
        releases[user].append(name)
    return releases


def _find_dropouts(network: NetworkGraph) -> dict[str, tuple[int, int]]:
    """Return for each dropout node the columns of the keep mask that are its own."""
    columns: dict[str, tuple[int, int]] = {}
    start = 0
    for node in network.nodes:
        if node.op == "dropout":
            stop = start + prod(network.shapes[node.name])
            columns[node.name] = (start, stop)
            start = stop
    return columns


def _scale_shift(module: Backbone, node: Node, x: flow.Tensor) -> flow.Tensor:
    return (x - node.attrs["mean"]) * node.attrs["scale"]


def _conv(module: Backbone, node: Node, x: flow.Tensor) -> flow.Tensor:
    attrs = node.attrs
    weight = getattr(module, f"{node.name}_weight")
    bias = getattr(module, f"{node.name}_bias") if attrs["bias"] else None
    return flow._C.conv2d(
        x,
        weight,
        bias,
        stride=[attrs["stride"]] * 2,
        padding=[attrs["pad"]] * 2,
        dilation=[1, 1],
        groups=attrs["groups"],
    )


def _batch_norm(module: Backbone, node: Node, x: flow.Tensor) -> flow.Tensor:
    if module.training and module._statistics_of_all:
        return _batch_norm_of_all(module, node, x)
    # The functional form: nn.BatchNorm would add a num_batches_tracked buffer that no format has a place for.
    return flow._C.normalization(
        x,
        getattr(module, f"{node.name}_moving_mean"),
        getattr(module, f"{node.name}_moving_var"),
        getattr(module, f"{node.name}_gamma"),
        getattr(module, f"{node.name}_beta"),
        axis=1,
        epsilon=node.attrs["eps"],
        momentum=1 - node.attrs["momentum"],
        is_training=module.training,
    )


def _batch_norm_of_all(module: Backbone, node: Node, x: flow.Tensor) -> flow.Tensor:
    gamma, beta = getattr(module, f"{node.name}_gamma"), getattr(module, f"{node.name}_beta")
    y, *moments = normalise(x, gamma, beta, node.attrs["eps"])
    keep = node.attrs["momentum"]
    for kind, moment in zip(AUXILIARY_KINDS, moments, strict=True):
        name = f"{node.name}_{kind}"
        module.new_statistics[name] = getattr(module, name) * keep + moment * (1 - keep)
    return y


def _prelu(module: Backbone, node: Node, x: flow.Tensor) -> flow.Tensor:
    return flow._C.prelu(x, getattr(module, f"{node.name}_gamma"))


def _activation(module: Backbone, node: Node, x: flow.Tensor) -> flow.Tensor:
    return ACTIVATIONS[node.attrs["kind"]](x)


def _add(module: Backbone, node: Node, a: flow.Tensor, b: flow.Tensor) -> flow.Tensor:
    return a + b


def _flatten(module: Backbone, node: Node, x: flow.Tensor) -> flow.Tensor:
    return flow.flatten(x, 1)


def _fully_connected(module: Backbone, node: Node, x: flow.Tensor) -> flow.Tensor:
    weight, bias = getattr(module, f"{node.name}_weight"), getattr(module, f"{node.name}_bias")
    return flow._C.matmul(x, weight, transpose_a=False, transpose_b=True) + bias


ACTIVATIONS: dict[str, Callable[[flow.Tensor], flow.Tensor]] = {
    "relu": flow.relu,
    "sigmoid": flow.sigmoid,
    "tanh": flow.tanh,
}
OPERATORS: dict[str, Callable[..., Any]] = {
    "scale_shift": _scale_shift,
    "conv": _conv,
    "batch_norm": _batch_norm,
    "prelu": _prelu,
    "activation": _activation,
    "add": _add,
    "flatten": _flatten,
    "fully_connected": _fully_connected,
}
