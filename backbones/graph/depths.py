"""How deep in a network each of its arrays lies."""

from __future__ import annotations

from backbones.graph.network_graph import NetworkGraph


def array_depths(network: NetworkGraph) -> dict[str, int]:
    """Return for each array the layers of weights up to its own, on the longest way from the input, by MXNet name.

    Layers of weights are those with an array of the role weight: convolutions, fully connected ones and the like. Other
    arrays, such as those of BatchNorm and PReLU, count with the layer before them.
    """
    of_nodes: dict[str, int] = {}
    depths: dict[str, int] = {}
    for node in network.nodes:
        before = max((of_nodes[name] for name in node.inputs), default=0)
        of_nodes[node.name] = before + ("weight" in node.arrays)
        depths |= dict.fromkeys(node.arrays.values(), of_nodes[node.name])
    return depths
