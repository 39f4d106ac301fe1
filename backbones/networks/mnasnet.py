"""MnasNet, InsightFace's ``fmnasnet`` (mnas, mnas05, mnas025).

Tan et al., MnasNet, 2019, in the widths of InsightFace's Gluon block; arrays have its names.
"""

from __future__ import annotations

from backbones.graph.network_graph import NetworkGraph
from backbones.networks.gluon import RULES, Scope
from backbones.networks.layers import add_image_input
from backbones.networks.options import NetworkOptions
from backbones.networks.output_layers import add_output

# Groups of inverted residuals: expansion, filters, blocks, stride and kernel of the first block, prefix.
PLAN = (
    (3, 24, 3, 2, 3, "stage2_"),
    (3, 40, 3, 2, 5, "stage3_"),
    (6, 80, 3, 2, 5, "stage4_1_"),
    (6, 96, 2, 1, 3, "stage4_2_"),
    (6, 192, 4, 2, 5, "stage5_1_"),
    (6, 320, 1, 1, 3, "stage5_2_"),
)


def _inverted_residual(scope: Scope, x: str, inner: int, filters: int, kernel: int, stride: int, add: bool) -> str:
    y = scope.scope("expand_").conv_norm_act(x, inner)
    y = scope.scope("dwise_").conv_norm_act(y, inner, kernel, stride, groups=inner)
    linear = scope.scope("linear_")
    y = linear.norm(linear.conv(y, filters))
    return scope.graph.add(y, x, scope.name("plus")) if add else y


def build_fmnasnet(options: NetworkOptions) -> NetworkGraph:
    """Build the network with all widths times ``net_multiplier``.

    All blocks of a group but the first have 3x3 kernels, as in the original.

    Raises:
        UserError: an option has a value that this family does not support.
    """
    graph = NetworkGraph(RULES)
    net = Scope(graph, options, "mnasnet0_")
    x = add_image_input(graph, options)
    first, second = options.widen(32), options.widen(16)
    x = net.scope("stage1_conv0_").conv_norm_act(x, first, kernel=3)
    separable = net.scope("stage1_sepconv0_")
    x = separable.conv_norm_act(x, first, kernel=3, groups=first)
    x = separable.conv_norm_act(x, second)
    for expansion, filters, count, stride, kernel, prefix in PLAN:
        group, filters = net.scope(prefix), options.widen(filters)
        for index in range(count):
            block = group.scope(f"expandedconv{index}_")
            inner = graph.shapes[x][0] * expansion
            first_of_group = index == 0
            shape = (kernel, stride) if first_of_group else (3, 1)
            x = _inverted_residual(block, x, inner, filters, *shape, add=not first_of_group)
    last = options.widen(1024)
    x = net.scope("stage5_3_").conv_norm_act(x, last)
    add_output(graph, x, options, groups=last)
    return graph
