"""MobileFaceNet, InsightFace's ``fmobilefacenet`` (y1, y2).

Chen et al., MobileFaceNets, 2018, in the widths of InsightFace's symbol.
"""

from __future__ import annotations

from backbones.graph import NetworkGraph
from backbones.layers import add_activation, add_image_input
from backbones.options import NetworkOptions
from backbones.output_layers import add_output
from common.errors import UserError

BN_EPS = 1e-3


class _Layers:
    """The repeated groups of layers, with their graph and options at hand."""

    def __init__(self, graph: NetworkGraph, options: NetworkOptions) -> None:
        self.graph = graph
        self.options = options

    def linear(self, x: str, name: str, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        """Convolution and BN; the padding keeps the resolution at stride 1."""
        x = self.graph.conv(x, f"{name}_conv2d", filters, kernel, stride, pad=kernel // 2, groups=groups)
        return self.graph.batch_norm(x, f"{name}_batchnorm", BN_EPS, self.options.bn_mom)

    def conv(self, x: str, name: str, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        """Convolution, BN, activation."""
        x = self.linear(x, name, filters, kernel, stride, groups)
        return add_activation(self.graph, x, f"{name}_relu", self.options.net_act)

    def bottleneck(self, x: str, name: str, inner: int, filters: int, stride: int) -> str:
        """1x1 to ``inner`` channels, 3x3 depthwise with the stride, linear 1x1 to ``filters`` channels."""
        x = self.conv(x, f"{name}_conv_sep", inner)
        x = self.conv(x, f"{name}_conv_dw", inner, kernel=3, stride=stride, groups=inner)
        return self.linear(x, f"{name}_conv_proj", filters)

    def residual(self, x: str, name: str, count: int, inner: int, filters: int) -> str:
        """``count`` bottlenecks of stride 1, each added to its own input."""
        for index in range(count):
            block = f"{name}_block{index}"
            x = self.graph.add(self.bottleneck(x, block, inner, filters, stride=1), x, f"{block}_plus")
        return x


def build_fmobilefacenet(options: NetworkOptions) -> NetworkGraph:
    """Build the network with ``options.net_blocks`` residual blocks at the resolutions S/2, S/4, S/8, S/16.

    A first entry of 1 means one depthwise convolution in place of a residual group, as in the original.

    Raises:
        UserError: ``net_blocks`` is not four positive whole numbers, or another option is not supported.
    """
    blocks = options.net_blocks
    if len(blocks) != 4 or not all(isinstance(count, int) and count > 0 for count in blocks):
        raise UserError(f"net_blocks={list(blocks)} must be four positive whole numbers, such as [1, 4, 6, 2]")
    graph = NetworkGraph()
    layers = _Layers(graph, options)
    x = add_image_input(graph, options.image_size)
    x = layers.conv(x, "conv_1", 64, kernel=3, stride=2)
    if blocks[0] == 1:
        x = layers.conv(x, "conv_2_dw", 64, kernel=3, groups=64)
    else:
        x = layers.residual(x, "res_2", blocks[0], inner=64, filters=64)
    x = layers.bottleneck(x, "dconv_23", inner=128, filters=64, stride=2)
    x = layers.residual(x, "res_3", blocks[1], inner=128, filters=64)
    x = layers.bottleneck(x, "dconv_34", inner=256, filters=128, stride=2)
    x = layers.residual(x, "res_4", blocks[2], inner=256, filters=128)
    x = layers.bottleneck(x, "dconv_45", inner=512, filters=128, stride=2)
    x = layers.residual(x, "res_5", blocks[3], inner=256, filters=128)
    x = layers.conv(x, "conv_6sep", 512)
    add_output(graph, x, options)
    return graph
