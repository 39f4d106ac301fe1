"""VarGFaceNet, InsightFace's ``vargfacenet``: convolutions whose groups have a fixed number of channels.

Yan et al., VarGFaceNet, 2019. Names and constants are those of the original symbol.
"""

from __future__ import annotations

from backbones.graph.network_graph import NetworkGraph
from backbones.networks.layers import Layers, add_image_input
from backbones.networks.options import NetworkOptions, choose
from backbones.networks.output_layers import add_output
from common.errors import UserError

BN_EPS = 2e-5
GROUP_CHANNELS = 8
EXPANSION = 2
SE_RATIO = 4
UNITS_PER_STAGE = (3, 7, 4)
WIDTHS = (32, 64, 128, 256)
LAST_CHANNELS = 1024
SQUEEZE_EXCITATION = {0: "none", 1: "in every unit that keeps the shape"}


class _Blocks(Layers):
    def separable(self, x: str, name: str, filters: int, stride: int, expansion: int, act: bool) -> str:
        """A grouped 3x3 convolution to ``expansion`` times the channels, then 1x1 to ``filters``, each with BN.

        Raises:
            UserError: the channels do not divide into groups.
        """
        channels = self.graph.shapes[x][0]
        if channels % GROUP_CHANNELS:
            raise UserError(
                f"net_multiplier={self.options.net_multiplier} gives {channels} channels, not a multiple of "
                f"{GROUP_CHANNELS}, which vargfacenet needs; 1.0 and 1.25 do"
            )
        deep, point = f"{name}_conv2d_depthwise", f"{name}_conv2d_pointwise"
        groups = channels // GROUP_CHANNELS
        x = self.conv_norm(x, deep, f"{deep}_bn", channels * expansion, kernel=3, stride=stride, groups=groups)
        x = self.conv_norm(self.act(x, f"{deep}_act"), point, f"{point}_bn", filters)
        return self.act(x, f"{point}_act") if act else x

    def unit(self, x: str, name: str, filters: int, stride: int, expansion: int) -> str:
        """Two separable convolutions and the shortcut, which is a third one if the stride is not 1."""
        body = self.separable(x, f"{name}_sep1_data", filters, stride, expansion, act=True)
        body = self.separable(body, f"{name}_sep2_data", filters, 1, expansion, act=False)
        if self.options.net_se:
            body = self.squeeze_excite(body, name, SE_RATIO, act="act1")
        if stride > 1:
            x = self.separable(x, f"{name}_shortcut", filters, stride, expansion, act=False)
        return self.act(self.graph.add(body, x, f"{name}_plus"), f"{name}_out_data_act")

    def first_unit(self, x: str, name: str, filters: int) -> str:
        """The unit that halves the resolution: the sum of two branches, a separable convolution, plus the shortcut."""
        one, two = (
            self.separable(x, f"{name}_sep{branch}_data_branch", filters, 2, EXPANSION, act=False) for branch in (1, 2)
        )
        body = self.act(self.graph.add(one, two, f"{name}_branches_plus"), f"{name}_sep1_data_act")
        body = self.separable(body, f"{name}_sep2_data", filters, 1, EXPANSION, act=False)
        shortcut = self.separable(x, f"{name}_shortcut", filters, 2, EXPANSION, act=False)
        return self.act(self.graph.add(body, shortcut, f"{name}_plus"), f"{name}_out_data_act")

    def embedding(self, x: str) -> str:
        """Expand to 1024 channels, apply a grouped 7x7 convolution, and halve the channels."""
        x = self.act(self.conv_norm(x, "embed_convx", "embed_convx_bn", LAST_CHANNELS), "embed_convx_act")
        groups = LAST_CHANNELS // GROUP_CHANNELS
        x = self.graph.conv(x, "embed_convx_depthwise", LAST_CHANNELS, kernel=7, groups=groups)
        x = self.norm(x, "embed_convx_depthwise_bn")
        x = self.conv_norm(x, "embed_convx_pointwise", "embed_convx_pointwise_bn", LAST_CHANNELS // 2)
        return self.act(x, "embed_convx_pointwise_act")


def build_vargfacenet(options: NetworkOptions) -> NetworkGraph:
    """Build the network with all widths except the last multiplied by ``net_multiplier``.

    Raises:
        UserError: ``net_multiplier`` gives widths that do not divide into groups, or another option is not supported.
    """
    choose(SQUEEZE_EXCITATION, "net_se", options.net_se, options.net_name)
    graph = NetworkGraph({"conv": "xavier_uniform", "fully_connected": "xavier_uniform"})
    blocks = _Blocks(graph, options, BN_EPS)
    first, *widths = (options.widen(width) for width in WIDTHS)
    x = add_image_input(graph, options)
    x = blocks.conv_norm(x, "vargface_head_conv1", "vargface_head_conv1_bn", first, kernel=3)
    x = blocks.act(x, "vargface_head_conv1_act")
    x = blocks.unit(x, "vargface_head_head_pooling", first, stride=2, expansion=1)
    for stage, (count, filters) in enumerate(zip(UNITS_PER_STAGE, widths, strict=True), start=2):
        x = blocks.first_unit(x, f"vargface_stage_{stage}_unit_1", filters)
        for number in range(2, count + 1):
            x = blocks.unit(x, f"vargface_stage_{stage}_unit_{number}", filters, 1, EXPANSION)
    add_output(graph, blocks.embedding(x), options)
    return graph
