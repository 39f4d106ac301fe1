"""Names and constants shared by the networks that were written with MXNet's Gluon."""

from __future__ import annotations

from collections import Counter

from backbones.graph.network_graph import NetworkGraph
from backbones.networks.layers import add_activation
from backbones.networks.options import NetworkOptions

BN_EPS = 1e-5
RULES = {"conv": "xavier_uniform", "fully_connected": "xavier_uniform"}


class Scope:
    """Adds layers with the names that Gluon gives to the children of a block: kind and number within the block.

    A PReLU has one slope for all channels, and the statistics of a BatchNorm are called "running".
    """

    def __init__(self, graph: NetworkGraph, options: NetworkOptions, prefix: str) -> None:
        self.graph = graph
        self._options = options
        self._prefix = prefix
        self._numbers: Counter[str] = Counter()

    def scope(self, prefix: str) -> Scope:
        """Return the scope of a child block."""
        return Scope(self.graph, self._options, self._prefix + prefix)

    def name(self, kind: str) -> str:
        """Return the next name for a layer of a kind."""
        number = self._numbers[kind]
        self._numbers[kind] += 1
        return f"{self._prefix}{kind}{number}"

    def conv(self, x: str, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        """Convolution; the padding keeps the resolution at stride 1."""
        return self.graph.conv(x, self.name("conv"), filters, kernel, stride, kernel // 2, groups)

    def norm(self, x: str) -> str:
        """BatchNorm."""
        name = self.name("batchnorm")
        return self.graph.batch_norm(x, name, BN_EPS, self._options.bn_mom, statistics="running")

    def act(self, x: str) -> str:
        """The activation of ``net_act``."""
        kind = self._options.net_act
        name = self.name("prelu" if kind == "prelu" else kind)
        return add_activation(self.graph, x, name, kind, shared=True)

    def conv_norm_act(self, x: str, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        """Convolution, BatchNorm, activation."""
        return self.act(self.norm(self.conv(x, filters, kernel, stride, groups)))
