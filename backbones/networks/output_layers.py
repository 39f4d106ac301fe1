"""The layers between the last feature map and the embedding ``fc1``, chosen by config key ``net_output``.

Follows ``get_fc1`` of InsightFace's symbol_utils, names and constants included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backbones.graph.network_graph import NetworkGraph
from backbones.networks.layers import add_activation
from backbones.networks.options import NetworkOptions, choose
from common.errors import UserError

DROPOUT = 0.4
GDC_GROUPS = 512


@dataclass(frozen=True)
class OutputStyle:
    """The differences between MXNet's and PyTorch's networks; the defaults are MXNet's.

    Attributes:
        eps: of the BatchNorms.
        depthwise_eps: of the BatchNorm in GDC; MXNet's symbol sets none, so MXNet's default applies.
        fix_gamma: whether the gamma of ``fc1`` stays 1.
        bias: whether ``pre_fc1`` has a bias.
    """

    eps: float = 2e-5
    depthwise_eps: float = 1e-3
    fix_gamma: bool = True
    bias: bool = True


class _Output:
    """The building blocks of the output types."""

    def __init__(self, graph: NetworkGraph, options: NetworkOptions, groups: int, style: OutputStyle) -> None:
        self.graph = graph
        self.options = options
        self.groups = groups
        self.style = style

    def norm(self, x: str, name: str, fix_gamma: bool = False) -> str:
        return self.graph.batch_norm(x, name, self.style.eps, self.options.bn_mom, fix_gamma)

    def normed(self, x: str) -> str:
        return self.norm(x, "bn1")

    def dropped(self, x: str) -> str:
        return self.graph.dropout(self.normed(x), "dropout0", DROPOUT)

    def act(self, x: str, name: str) -> str:
        return add_activation(self.graph, x, name, self.options.net_act)

    def dense(self, x: str, name: str) -> str:
        x = self.graph.flatten(x, "flatten0")
        return self.graph.fully_connected(x, name, self.options.emb_size, self.style.bias)

    def project(self, x: str) -> str:
        return self.norm(self.dense(x, "pre_fc1"), "fc1", self.style.fix_gamma)

    def pooled(self, x: str) -> str:
        """GAP: global average pooling."""
        return self.project(self.graph.global_pool(self.act(self.normed(x), "relu1"), "pool1"))

    def separable(self, x: str) -> str:
        """SFC: a depthwise separable convolution of stride 2."""
        channels = self.graph.shapes[x][0]
        x = self.graph.conv(self.normed(x), "convf", channels, kernel=3, stride=2, pad=1, groups=channels)
        x = self.act(self.norm(x, "bnf"), "reluf")
        x = self.graph.conv(x, "convf2", channels, kernel=1, bias=True)
        return self.project(self.act(self.norm(x, "bnf2"), "reluf2"))

    def norm_aware(self, x: str) -> str:
        """GNAP: pixels scaled to one length, then global average pooling.

        As in the original, the length is the mean over the batch, so an embedding depends slightly on the other images.
        """
        size = self.options.emb_size
        if size > self.graph.shapes[x][0]:
            x = self.norm(self.graph.conv(x, "convx", size, kernel=1), "convx_bn")
            x = self.act(x, "convx_relu")
        x = self.graph.equalize_pixel_norms(self.norm(x, "bn6f", fix_gamma=True), "spatial_norm")
        x = self.graph.global_pool(x, "pool6")
        if size < self.graph.shapes[x][0]:
            return self.project(self.norm(x, "bn6w", fix_gamma=True))
        return self.norm(self.graph.flatten(x, "flatten0"), "fc1", self.style.fix_gamma)

    def depthwise(self, x: str) -> str:
        """GDC: a grouped 7x7 convolution, depthwise if the number of groups is that of the channels."""
        x = self.graph.conv(x, "conv_6dw7_7_conv2d", self.groups, kernel=7, groups=self.groups)
        x = self.graph.batch_norm(x, "conv_6dw7_7_batchnorm", self.style.depthwise_eps, self.options.bn_mom)
        return self.project(x)

    def bare(self, x: str) -> str:
        """Z: the feature map itself is the embedding."""
        x = self.graph.flatten(self.dropped(x), "fc1")
        if self.graph.embedding_size != self.options.emb_size:
            raise UserError(
                f"net_output=Z has the feature map as its embedding, so emb_size={self.options.emb_size} must be "
                f"{self.graph.embedding_size} here"
            )
        return x


OUTPUT_LAYERS: dict[str, Callable[[_Output, str], str]] = {
    "E": lambda output, x: output.project(output.dropped(x)),
    "FC": lambda output, x: output.project(output.normed(x)),
    "I": lambda output, x: output.project(output.normed(x)),  # an older name of FC
    "Z": lambda output, x: output.bare(x),
    "F": lambda output, x: output.dense(output.dropped(x), "fc1"),
    "G": lambda output, x: output.dense(output.normed(x), "fc1"),
    "H": lambda output, x: output.dense(x, "fc1"),
    "J": lambda output, x: output.project(x),
    "SFC": lambda output, x: output.separable(x),
    "GAP": lambda output, x: output.pooled(x),
    "GNAP": lambda output, x: output.norm_aware(x),
    "GDC": lambda output, x: output.depthwise(x),
}


def add_output(
    graph: NetworkGraph, x: str, options: NetworkOptions, groups: int = GDC_GROUPS, style: OutputStyle | None = None
) -> str:
    """Add the output layers from feature map ``x`` (C, H, W) to the embedding ``fc1`` (emb_size,).

    Args:
        graph: the network so far.
        x: its last value.
        options: ``net_output``, ``emb_size``, ``net_act`` and ``bn_mom`` are read.
        groups: filters and groups of the convolution in GDC.
        style: constants of the family, MXNet's by default.

    Raises:
        UserError: ``options.net_output`` is unknown or does not fit the feature map.
    """
    add_layers = choose(OUTPUT_LAYERS, "net_output", options.net_output, options.net_name)
    return add_layers(_Output(graph, options, groups, style or OutputStyle()), x)
