"""MobileNet, InsightFace's ``fmobilenet`` (m1, m05).

Howard et al., MobileNets, 2017, with one more resolution. Gammas stay 1, as in the original symbol.
"""

from __future__ import annotations

from backbones.graph.network_graph import NetworkGraph
from backbones.networks.layers import Layers, add_image_input
from backbones.networks.options import NetworkOptions, choose
from backbones.networks.output_layers import add_output

BN_EPS = 1e-3
STRIDE_OF_INPUT = {0: 2, 1: 1}
# Depthwise separable convolutions conv_2 to conv_14: filters as multiples of the first layer's, stride.
PLAN = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1))


def build_fmobilenet(options: NetworkOptions) -> NetworkGraph:
    """Build the network with 32 * ``net_multiplier`` filters in its first layer; ``net_input`` 0 gives it stride 2.

    Raises:
        UserError: an option has a value that this family does not support.
    """
    base = options.widen(32)
    graph = NetworkGraph({"conv": "xavier_uniform", "fully_connected": "xavier_uniform"})
    layers = Layers(graph, options, BN_EPS, fix_gamma=True)

    def conv(x: str, name: str, filters: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        x = layers.conv_norm(x, f"{name}_conv2d", f"{name}_batchnorm", filters, kernel, stride, groups)
        return layers.act(x, f"{name}_relu")

    x = add_image_input(graph, options)
    stride = choose(STRIDE_OF_INPUT, "net_input", options.net_input, options.net_name)
    x = conv(x, "conv_1", base, kernel=3, stride=stride)
    for number, (factor, stride) in enumerate(PLAN, start=2):
        channels = graph.shapes[x][0]
        x = conv(x, f"conv_{number}_dw", channels, kernel=3, stride=stride, groups=channels)
        x = conv(x, f"conv_{number}", base * factor)
    add_output(graph, x, options)
    return graph
