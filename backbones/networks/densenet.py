"""DenseNet, InsightFace's ``fdensenet`` (d121, d161, d169, d201).

Huang et al., Densely Connected Convolutional Networks, 2017, with a 3x3 first layer of stride 1. The arrays have the
names of InsightFace's Gluon block.
"""

from __future__ import annotations

from backbones.graph.network_graph import NetworkGraph
from backbones.networks.gluon import RULES, Scope
from backbones.networks.layers import add_image_input
from backbones.networks.options import NetworkOptions, choose
from backbones.networks.output_layers import add_output

BOTTLENECK = 4
# Depth: filters of the first layer, filters added by each layer, layers of each block.
SPECIFICATIONS: dict[int, tuple[int, int, tuple[int, ...]]] = {
    121: (64, 32, (6, 12, 24, 16)),
    161: (96, 48, (6, 12, 36, 24)),
    169: (64, 32, (6, 12, 32, 32)),
    201: (64, 32, (6, 12, 48, 32)),
}


def _dense_layer(scope: Scope, x: str, growth: int, dropout: float) -> str:
    y = scope.conv(scope.act(scope.norm(x)), BOTTLENECK * growth)
    y = scope.conv(scope.act(scope.norm(y)), growth, kernel=3)
    if dropout:
        y = scope.graph.dropout(y, scope.name("dropout"), dropout)
    return scope.graph.concat([x, y], scope.name("concat"))


def build_fdensenet(options: NetworkOptions) -> NetworkGraph:
    """Build the network of ``options.num_layers`` layers, with ``densenet_dropout`` after each of a block's layers.

    Raises:
        UserError: the depth is not in ``SPECIFICATIONS``, or another option is not supported.
    """
    first, growth, blocks = choose(SPECIFICATIONS, "num_layers", options.num_layers, options.net_name)
    graph = NetworkGraph(RULES)
    net = Scope(graph, options, "densenet0_")
    x = add_image_input(graph, options)
    x = net.norm(net.conv(x, first, kernel=3))
    x = graph.activation(x, net.name("relu"), "relu")
    x = graph.pool(x, net.name("pool"), "max", kernel=3, stride=2, pad=1)
    for number, count in enumerate(blocks, start=1):
        block = net.scope(f"stage{number}_")
        for _ in range(count):
            x = _dense_layer(block, x, growth, options.densenet_dropout)
        if number < len(blocks):
            x = net.conv(net.act(net.norm(x)), graph.shapes[x][0] // 2)
            x = graph.pool(x, net.name("pool"), "avg", kernel=2, stride=2)
    x = graph.activation(net.norm(x), net.name("relu"), "relu")
    add_output(graph, x, options)
    return graph
