"""A network of a few layers, so that files of it are small. Free of OneFlow."""

from __future__ import annotations

from backbones.graph.network_graph import NetworkGraph
from backbones.networks.layers import add_image_input
from backbones.networks.options import NetworkOptions


def few_layers() -> NetworkGraph:
    """Return a convolution, BatchNorm, PReLU and a fully connected layer."""
    graph = NetworkGraph()
    x = graph.conv(add_image_input(graph, NetworkOptions("tiny")), "conv0", 4, kernel=9, stride=9)
    x = graph.prelu(graph.batch_norm(x, "bn0", 2e-5), "relu0")
    graph.fully_connected(graph.flatten(x, "flatten0"), "fc1", 3)
    return graph
