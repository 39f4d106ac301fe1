"""MobileFaceNet: InsightFace's ``fmobilefacenet`` (y1, y2) and the wider ``mbf`` of its PyTorch trainer.

Chen et al., MobileFaceNets, 2018, in the widths of InsightFace's symbol. Both have the MXNet names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backbones.graph.network_graph import NetworkGraph
from backbones.networks.layers import MXNET_SCALE, TORCH_SCALE, Layers, add_image_input
from backbones.networks.options import NetworkOptions
from backbones.networks.output_layers import OutputStyle, add_output
from common.errors import UserError


@dataclass(frozen=True)
class MobileStyle:
    """The differences between MXNet's and PyTorch's network; the defaults are MXNet's.

    Attributes:
        eps: of the BatchNorms.
        scale: of the preprocessing.
        first_inner: channels inside the first residual group, if there is one.
        output: constants of the output layers.
        rules: distributions of the initial weights by op.
    """

    eps: float = 1e-3
    scale: float = MXNET_SCALE
    first_inner: int = 64
    output: OutputStyle = OutputStyle()
    rules: Mapping[str, str] = field(default_factory=dict)


TORCH_STYLE = MobileStyle(1e-5, TORCH_SCALE, 128, OutputStyle(1e-5, 1e-5, fix_gamma=False, bias=False))


class _Blocks(Layers):
    def linear(self, x: str, name: str, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        """Convolution and BN; the padding keeps the resolution at stride 1."""
        return self.conv_norm(x, f"{name}_conv2d", f"{name}_batchnorm", filters, kernel, stride, groups)

    def conv(self, x: str, name: str, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        """Convolution, BN, activation."""
        return self.act(self.linear(x, name, filters, kernel, stride, groups), f"{name}_relu")

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


def _build(options: NetworkOptions, style: MobileStyle) -> NetworkGraph:
    counts = options.net_blocks
    if len(counts) != 4 or not all(isinstance(count, int) and count > 0 for count in counts):
        raise UserError(f"net_blocks={list(counts)} must be four positive whole numbers, such as [1, 4, 6, 2]")
    narrow, wide = options.widen(64), options.widen(128)
    graph = NetworkGraph(style.rules)
    blocks = _Blocks(graph, options, style.eps)
    x = add_image_input(graph, options, style.scale)
    x = blocks.conv(x, "conv_1", narrow, kernel=3, stride=2)
    if counts[0] == 1:
        x = blocks.conv(x, "conv_2_dw", narrow, kernel=3, groups=64)
    else:
        x = blocks.residual(x, "res_2", counts[0], style.first_inner, narrow)
    x = blocks.bottleneck(x, "dconv_23", inner=128, filters=narrow, stride=2)
    x = blocks.residual(x, "res_3", counts[1], inner=128, filters=narrow)
    x = blocks.bottleneck(x, "dconv_34", inner=256, filters=wide, stride=2)
    x = blocks.residual(x, "res_4", counts[2], inner=256, filters=wide)
    x = blocks.bottleneck(x, "dconv_45", inner=512, filters=wide, stride=2)
    x = blocks.residual(x, "res_5", counts[3], inner=256, filters=wide)
    x = blocks.conv(x, "conv_6sep", 512)
    add_output(graph, x, options, style=style.output)
    return graph


def build_fmobilefacenet(options: NetworkOptions) -> NetworkGraph:
    """Build the network with ``options.net_blocks`` residual blocks at the resolutions S/2, S/4, S/8, S/16.

    A first entry of 1 means one depthwise convolution in place of a residual group, as in the original.
    ``net_multiplier`` scales the widths between the bottlenecks, not those inside them.

    Raises:
        UserError: ``net_blocks`` is not four positive whole numbers, or another option is not supported.
    """
    return _build(options, MobileStyle())


def build_mbf(options: NetworkOptions) -> NetworkGraph:
    """Build the network of arcface_torch's backbones/networks/mobilefacenet.py, whose ``scale`` is ``net_multiplier``.

    Raises:
        UserError: ``net_blocks`` is not four positive whole numbers, or another option is not supported.
    """
    return _build(options, TORCH_STYLE)
