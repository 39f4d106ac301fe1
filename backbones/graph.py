"""A network as data: named operators in the order they run, without any framework.

A ``NetworkGraph`` is written down once per network family, in the style and with the names of InsightFace's MXNet
symbols. The OneFlow module executes it; the converters and the counters walk the same nodes.

A value is known by the name of the node that makes it. Shapes leave the batch out: (C, H, W) or (C,).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Any

from common.errors import UserError

ACTIVATION_TYPES = ("relu", "sigmoid", "tanh")
AUXILIARY_KINDS = ("moving_mean", "moving_var")


@dataclass(frozen=True)
class Node:
    """One operator: what it does, the name of its output, the names of its inputs, its constants."""

    op: str
    name: str
    inputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ParameterSpec:
    """Shape and role of one stored array.

    ``kind`` is weight, bias, gamma, beta, prelu_gamma, moving_mean or moving_var. A gamma that is not ``trainable``
    belongs to a BatchNorm with fix_gamma: it is 1 whatever a file holds.
    """

    shape: tuple[int, ...]
    kind: str
    trainable: bool = True

    @property
    def auxiliary(self) -> bool:
        """Whether MXNet stores the array as auxiliary state (``aux:``) and not as an argument (``arg:``)."""
        return self.kind in AUXILIARY_KINDS

    @property
    def fixed(self) -> bool:
        """Whether the array is a gamma pinned to 1 by fix_gamma."""
        return self.kind == "gamma" and not self.trainable

    @property
    def fan_in(self) -> int:
        """Inputs of one output, as MXNet's Xavier counts them; weights only."""
        return self.shape[1] * prod(self.shape[2:])

    @property
    def fan_out(self) -> int:
        """Outputs times kernel area, as MXNet's Xavier counts them (groups do not enter); weights only."""
        return self.shape[0] * prod(self.shape[2:])


class NetworkGraph:
    """Builder and container of a network's nodes, value shapes and parameters.

    Every builder method appends one node and returns its name, which is then an input of later nodes.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._parameters: dict[str, ParameterSpec] = {}

    @property
    def output(self) -> str:
        """Name of the last node, the embedding."""
        return self.nodes[-1].name

    @property
    def embedding_size(self) -> int:
        """Number of elements of the embedding."""
        return self.shapes[self.output][0]

    def parameters(self) -> Mapping[str, ParameterSpec]:
        """Return every array a file of this network holds, by MXNet name, in the order of use."""
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
            UserError: the kernel is larger than the padded input.
        """
        channels, height, width = self.shapes[x]
        if min(height, width) + 2 * pad < kernel:
            raise UserError(
                f"{name}: a {kernel}x{kernel} convolution does not fit its {height}x{width} input; enlarge image_size"
            )
        if channels % groups or filters % groups:
            raise ValueError(f"{name}: {channels} -> {filters} channels do not divide into {groups} groups")
        self._declare(f"{name}_weight", (filters, channels // groups, kernel, kernel), "weight")
        if bias:
            self._declare(f"{name}_bias", (filters,), "bias")
        height, width = ((size + 2 * pad - kernel) // stride + 1 for size in (height, width))
        attrs = {"filters": filters, "kernel": kernel, "stride": stride, "pad": pad, "groups": groups, "bias": bias}
        return self._append("conv", name, (x,), (filters, height, width), **attrs)

    def batch_norm(self, x: str, name: str, eps: float, momentum: float = 0.9, fix_gamma: bool = False) -> str:
        """Add a batch normalisation over axis 1; ``momentum`` is MXNet's, the share of the old statistics."""
        channels = (self.shapes[x][0],)
        self._declare(f"{name}_gamma", channels, "gamma", trainable=not fix_gamma)
        self._declare(f"{name}_beta", channels, "beta")
        self._declare(f"{name}_moving_mean", channels, "moving_mean", trainable=False)
        self._declare(f"{name}_moving_var", channels, "moving_var", trainable=False)
        attrs = {"eps": eps, "momentum": momentum, "fix_gamma": fix_gamma}
        return self._append("batch_norm", name, (x,), self.shapes[x], **attrs)

    def prelu(self, x: str, name: str) -> str:
        """Add a PReLU with one slope per channel, ``{name}_gamma`` (C,)."""
        self._declare(f"{name}_gamma", (self.shapes[x][0],), "prelu_gamma")
        return self._append("prelu", name, (x,), self.shapes[x])

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

    def dropout(self, x: str, name: str, p: float) -> str:
        """Add a dropout that zeroes a share ``p`` in training and scales the rest by 1 / (1 - p)."""
        return self._append("dropout", name, (x,), self.shapes[x], p=p)

    def flatten(self, x: str, name: str) -> str:
        """Add the flattening of all axes but the batch."""
        return self._append("flatten", name, (x,), (prod(self.shapes[x]),))

    def fully_connected(self, x: str, name: str, units: int) -> str:
        """Add ``x @ weight.T + bias`` on a flat value: ``{name}_weight`` (units, features), ``{name}_bias``."""
        (features,) = self.shapes[x]
        self._declare(f"{name}_weight", (units, features), "weight")
        self._declare(f"{name}_bias", (units,), "bias")
        return self._append("fully_connected", name, (x,), (units,), units=units)

    def _append(self, op: str, name: str, inputs: tuple[str, ...], shape: tuple[int, ...], **attrs: Any) -> str:
        if name in self.shapes:
            raise ValueError(f"two nodes are named {name}")
        self.nodes.append(Node(op, name, inputs, MappingProxyType(attrs)))
        self.shapes[name] = shape
        return name

    def _declare(self, name: str, shape: tuple[int, ...], kind: str, trainable: bool = True) -> None:
        if name in self._parameters:
            raise ValueError(f"two parameters are named {name}")
        self._parameters[name] = ParameterSpec(shape, kind, trainable)
