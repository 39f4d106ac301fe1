"""Count the parameters and operations of a network from its description."""

from __future__ import annotations

from math import prod

from backbones.graph.network_graph import NetworkGraph

MULTIPLYING_OPS = ("conv", "fully_connected")


def count_parameters(graph: NetworkGraph) -> int:
    """Return the number of elements of all arguments: weights, biases, gammas (fixed ones too), betas, slopes.

    Moving means and variances are not counted, as usual in published numbers.
    """
    return sum(prod(spec.shape) for spec in graph.parameters().values() if not spec.auxiliary)


def count_flops(graph: NetworkGraph) -> int:
    """Return the multiply-adds of convolutions, fully connected layers and attention for one image."""
    total = 0
    for node in graph.nodes:
        if node.op in MULTIPLYING_OPS:
            per_output = prod(graph.parameters()[node.arrays["weight"]].shape[1:])
            total += per_output * prod(graph.shapes[node.name])
        elif node.op == "attention":
            tokens, width = graph.shapes[node.name]
            total += 2 * tokens * tokens * width
    return total
