"""Folds BatchNorms into the convolutions and fully connected layers before them, for inference."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backbones.graph.network_graph import NetworkGraph, Node
from interchange.matching.adapt import NORM_ROLES, fold_norm
from interchange.matching.canonical_layers import LINEAR, canonical_layers

Arrays = Mapping[str, np.ndarray]


def foldable_norms(network: NetworkGraph) -> dict[str, Node]:
    """Return the BatchNorms that can be folded, by the name of the layer before them."""
    layers = canonical_layers(network).values()
    return {layer.node.name: layer.norm for layer in layers if layer.norm and layer.node.op in LINEAR}


def folded_name(network: NetworkGraph, linear: str, norm: Node) -> str:
    """Return the name of the folded layer: that of ``linear``; of ``norm`` if it is the network's output."""
    return norm.name if norm.name == network.output else linear


def read_norm(norm: Node, arrays: Arrays) -> tuple[np.ndarray, ...]:
    """Return gamma, beta, mean and variance of a BatchNorm; a fixed gamma is 1."""
    gamma, *others = (arrays[norm.arrays[role]] for role in NORM_ROLES)
    return (np.ones_like(gamma) if norm.attrs["fix_gamma"] else gamma, *others)


def fold_batch_norms(network: NetworkGraph, arrays: Arrays) -> tuple[NetworkGraph, dict[str, np.ndarray]]:
    """Return a network with the same inference results, in which such a BatchNorm is the bias of its layer.

    Computed in float64. BatchNorms before a convolution remain.
    """
    norms = foldable_norms(network)
    folded = NetworkGraph()
    values: dict[str, np.ndarray] = {}
    renamed: dict[str, str] = {}
    gone = {norm.name for norm in norms.values()}
    for node in network.nodes:
        inputs = [renamed.get(name, name) for name in node.inputs]
        if node.name in gone:
            renamed[node.name] = inputs[0]
            continue
        own = {role: arrays[name] for role, name in node.arrays.items()}
        if node.name not in norms:
            folded.add_like(network, node, inputs)
        else:
            norm = norms[node.name]
            name = folded_name(network, node.name, norm)
            weight, bias = fold_norm(own["weight"], own.get("bias"), read_norm(norm, arrays), norm.attrs["eps"])
            own = {"weight": weight, "bias": bias}
            renamed[node.name] = add_linear(folded, node, inputs[0], name, bias=True)
        values |= {name: own[role].astype(np.float32) for role, name in folded.nodes[-1].arrays.items()}
    return folded, values


def add_linear(graph: NetworkGraph, node: Node, x: str, name: str, bias: bool) -> str:
    """Add a convolution or fully connected layer like ``node`` with another name, with a bias or without."""
    if node.op == "fully_connected":
        return graph.fully_connected(x, name, node.attrs["units"], bias)
    attrs = {key: node.attrs[key] for key in ("filters", "kernel", "stride", "pad", "groups")}
    return graph.conv(x, name, **attrs, bias=bias)
