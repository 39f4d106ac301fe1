"""Folds BatchNorms into the convolutions before them, for inference."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from interchange.matching.adapt import NORM_ROLES, fold_norm
from interchange.matching.canonical_layers import canonical_layers


def fold_convolutions(
    network: NetworkGraph, arrays: Mapping[str, np.ndarray]
) -> tuple[NetworkGraph, dict[str, np.ndarray]]:
    """Return a network with the same inference results, in which such a BatchNorm is the bias of its convolution.

    Computed in float64. Other BatchNorms (before a convolution, after the fully connected layer) remain.
    """
    layers = canonical_layers(network).values()
    norms = {layer.node.name: layer.norm for layer in layers if layer.norm and layer.node.op == "conv"}
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
            after = {role: arrays[name] for role, name in norm.arrays.items()}
            if norm.attrs["fix_gamma"]:
                after["gamma"] = np.ones_like(after["gamma"])
            quadruple = tuple(after[role] for role in NORM_ROLES)
            weight, bias = fold_norm(own["weight"], own.get("bias"), quadruple, norm.attrs["eps"])
            own = {"weight": weight, "bias": bias}
            attrs = {key: node.attrs[key] for key in ("filters", "kernel", "stride", "pad", "groups")}
            folded.conv(inputs[0], node.name, **attrs, bias=True)
        values |= {name: own[role].astype(np.float32) for role, name in folded.nodes[-1].arrays.items()}
    return folded, values
