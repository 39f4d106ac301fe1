"""A network as data: named operators in the order of execution, independent of any framework.

Each network family builds a ``NetworkGraph`` in the style and with the names of InsightFace's MXNet symbols. The
OneFlow module executes it; the converters and counters traverse the same nodes.

A value has the name of the node that computes it. Shapes omit the batch axis: a feature map (C, H, W), a vector (C,),
or the tokens of a transformer (T, C).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

from backbones.graph.nodes import ACTIVATION_TYPES, AUXILIARY_KINDS, DEFAULT_RULE, POOL_TYPES, Node, ParameterSpec
from common.errors import UserError

__all__ = ["ACTIVATION_TYPES", "AUXILIARY_KINDS", "NetworkGraph", "Node", "ParameterSpec"]


class NetworkGraph:
    """Builder and container of a network's nodes, value shapes and parameters.

    Every builder method appends one node and returns its name, which is then an input of later nodes.
    """

    def __init__(self, rules: Mapping[str, str] | None = None) -> None:
        """``rules`` names the distribution of the initial weights by op, see ``backbones.graph.initializer``."""
        self.nodes: list[Node] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._parameters: dict[str, ParameterSpec] = {}
        self._rules = dict(rules or {})

    @property
    def output(self) -> str:
        """Name of the last node, the embedding."""
        return self.nodes[-1].name

    @property
    def embedding_size(self) -> int:
        """Number of elements of the embedding."""
        return self.shapes[self.output][0]

    def parameters(self) -> Mapping[str, ParameterSpec]:
        """Return all arrays of the network, by MXNet name, in the order of use."""
        return MappingProxyType(self._parameters)

    def input(self, name: str, shape: tuple[int, int, int]) -> str:
        """Add the image input of ``shape`` (C, H, W)."""
        return self._append("input", name, (), shape)

    def scale_shift(self, x: str, name: str, mean: float, scale: float) -> str:
        """Add ``(x - mean) * scale``, the preprocessing inside the network."""
        return self._append("scale_shift", name, (x,), self.shapes[x], mean=mean, scale=scale)

    def conv(
        self,
        x: str,
        name: str,
        filters: int,
        kernel: int,
        stride: int = 1,
        pad: int = 0,
        groups: int = 1,
        bias: bool = False,
    ) -> str:
        """Add a square 2-d convolution: ``{name}_weight`` (filters, C / groups, kernel, kernel), ``{name}_bias``.

        Raises:
            UserError: the kernel is larger than the padded input, or the channels do not divide into groups.
        """
        channels, height, width = self.shapes[x]
        if channels % groups or filters % groups:
            raise UserError(f"{name}: {channels} -> {filters} channels do not divide into {groups} groups")
        size = self._slide(name, "convolution", (height, width), kernel, stride, pad)
        shapes = {"weight": (filters, channels // groups, kernel, kernel)} | ({"bias": (filters,)} if bias else {})
        arrays = self._declare_all(name, shapes, self._rules.get("conv", DEFAULT_RULE))
        attrs = {"filters": filters, "kernel": kernel, "stride": stride, "pad": pad, "groups": groups, "bias": bias}
        return self._append("conv", name, (x,), (filters, *size), arrays, **attrs)

    def batch_norm(
        self, x: str, name: str, eps: float, momentum: float = 0.9, fix_gamma: bool = False, statistics: str = "moving"
    ) -> str:
        """Add a batch normalisation over axis 1; ``momentum`` is MXNet's, the share of the old statistics.

        ``statistics`` starts the names of mean and variance: "moving", or "running" in networks made with Gluon.
        """
        channels = (self.shapes[x][0],)
        arrays = {"gamma": f"{name}_gamma", "beta": f"{name}_beta"}
        arrays |= {"moving_mean": f"{name}_{statistics}_mean", "moving_var": f"{name}_{statistics}_var"}
        for kind, array in arrays.items():
            trainable = kind == "beta" or (kind == "gamma" and not fix_gamma)
            self._declare(array, ParameterSpec(channels, kind, trainable))
        attrs = {"eps": eps, "momentum": momentum, "fix_gamma": fix_gamma}
        return self._append("batch_norm", name, (x,), self.shapes[x], arrays, **attrs)

    def prelu(self, x: str, name: str, shared: bool = False) -> str:
        """Add a PReLU: a slope per channel, ``{name}_gamma`` (C,), or ``shared``, Gluon's ``{name}_alpha`` (1,)."""
        array, shape = (f"{name}_alpha", (1,)) if shared else (f"{name}_gamma", (self.shapes[x][0],))
        self._declare(array, ParameterSpec(shape, "prelu_gamma"))
        return self._append("prelu", name, (x,), self.shapes[x], {"slope": array}, shared=shared)

    def activation(self, x: str, name: str, kind: str) -> str:
        """Add a function without parameters, one of ``ACTIVATION_TYPES``."""
        if kind not in ACTIVATION_TYPES:
            raise UserError(f"unknown activation '{kind}' of {name}; known: {', '.join(ACTIVATION_TYPES)}")
        return self._append("activation", name, (x,), self.shapes[x], kind=kind)

    def add(self, a: str, b: str, name: str) -> str:
        """Add the elementwise sum of two values of one shape."""
        if self.shapes[a] != self.shapes[b]:
            raise ValueError(f"{name}: cannot add {a} {self.shapes[a]} and {b} {self.shapes[b]}")
        return self._append("add", name, (a, b), self.shapes[a])

    def scale_channels(self, x: str, factors: str, name: str) -> str:
        """Add the product of a map (C, H, W) with one factor per channel, (C, 1, 1)."""
        if self.shapes[factors] != (self.shapes[x][0], 1, 1):
            raise ValueError(f"{name}: {factors} {self.shapes[factors]} has no factor per channel of {self.shapes[x]}")
        return self._append("scale_channels", name, (x, factors), self.shapes[x])

    def concat(self, values: Sequence[str], name: str) -> str:
        """Add the concatenation of maps of one size along their channels."""
        sizes = {self.shapes[value][1:] for value in values}
        if len(sizes) != 1:
            raise ValueError(f"{name}: cannot concatenate maps of the sizes {sorted(sizes)}")
        channels = sum(self.shapes[value][0] for value in values)
        return self._append("concat", name, tuple(values), (channels, *sizes.pop()))

    def pool(self, x: str, name: str, kind: str, kernel: int, stride: int, pad: int = 0) -> str:
        """Add a square pooling, "max" or "avg"; pixels after the last complete window are ignored.

        As in MXNet, an average includes padded zeros.
        """
        if kind not in POOL_TYPES:
            raise ValueError(f"{name}: unknown pooling '{kind}'; known: {', '.join(POOL_TYPES)}")
        channels, *size = self.shapes[x]
        size = self._slide(name, "pooling", size, kernel, stride, pad)
        return self._append("pool", name, (x,), (channels, *size), kind=kind, kernel=kernel, stride=stride, pad=pad)

    def global_pool(self, x: str, name: str) -> str:
        """Add the average over all pixels: (C, H, W) -> (C, 1, 1)."""
        return self._append("global_pool", name, (x,), (self.shapes[x][0], 1, 1))

    def equalize_pixel_norms(self, x: str, name: str) -> str:
        """Scale each pixel's channels to one L2 norm: the mean norm of all pixels of the batch."""
        return self._append("equalize_pixel_norms", name, (x,), self.shapes[x])

    def dropout(self, x: str, name: str, p: float) -> str:
        """Add a dropout that in training zeroes a share ``p`` of the values and scales the rest by 1 / (1 - p)."""
        return self._append("dropout", name, (x,), self.shapes[x], p=p)

    def flatten(self, x: str, name: str) -> str:
        """Add a flattening of all axes except the batch."""
        return self._append("flatten", name, (x,), (prod(self.shapes[x]),))

    def fully_connected(self, x: str, name: str, units: int, bias: bool = True) -> str:
        """Add ``x @ weight.T + bias`` over the last axis: ``{name}_weight`` (units, features), ``{name}_bias``."""
        *rest, features = self.shapes[x]
        shapes = {"weight": (units, features)} | ({"bias": (units,)} if bias else {})
        arrays = self._declare_all(name, shapes, self._rules.get("fully_connected", DEFAULT_RULE))
        return self._append("fully_connected", name, (x,), (*rest, units), arrays, units=units, bias=bias)

    def add_like(self, other: NetworkGraph, node: Node, inputs: Sequence[str], **changes: Any) -> str:
        """Add a copy of ``node`` of ``other`` and its arrays, on inputs of the same shapes, with changed constants."""
        for name in node.arrays.values():
            self._declare(name, other.parameters()[name])
        attrs = {**node.attrs, **changes}
        return self._append(node.op, node.name, tuple(inputs), other.shapes[node.name], node.arrays, **attrs)

    def _slide(self, name: str, what: str, size: Sequence[int], kernel: int, stride: int, pad: int) -> tuple[int, int]:
        """Return the output height and width of a window that slides over a map of ``size``."""
        height, width = size
        if min(size) + 2 * pad < kernel:
            raise UserError(
                f"{name}: a {kernel}x{kernel} {what} does not fit its {height}x{width} input; enlarge image_size"
            )
        return tuple((length + 2 * pad - kernel) // stride + 1 for length in size)

    def _append(
        self,
        op: str,
        name: str,
        inputs: tuple[str, ...],
        shape: tuple[int, ...],
        arrays: Mapping[str, str] | None = None,
        **attrs: Any,
    ) -> str:
        if name in self.shapes:
            raise ValueError(f"two nodes are named {name}")
        self.nodes.append(Node(op, name, inputs, MappingProxyType(attrs), MappingProxyType(arrays or {})))
        self.shapes[name] = shape
        return name

    def _declare_all(
        self, name: str, shapes: Mapping[str, tuple[int, ...]], rule: str = DEFAULT_RULE
    ) -> dict[str, str]:
        """Declare ``{name}_{kind}`` of each kind and return the names by kind."""
        for kind, shape in shapes.items():
            self._declare(f"{name}_{kind}", ParameterSpec(shape, kind, rule=rule))
        return {kind: f"{name}_{kind}" for kind in shapes}

    def _declare(self, name: str, spec: ParameterSpec) -> None:
        if name in self._parameters:
            raise ValueError(f"two parameters are named {name}")
        self._parameters[name] = spec
