"""Estimate the memory of a backbone's feature maps in a training step, without OneFlow."""

from __future__ import annotations

from math import prod

from backbones.graph.network_graph import NetworkGraph

_FLOAT = 4
# What a step without the kernels keeps: the inputs of these.
_OPS_KEPT = (
    "conv",
    "batch_norm",
    "prelu",
    "activation",
    "fully_connected",
    "pool",
    "scale_channels",
    "equalize_pixel_norms",
    "layer_norm",
    "attention",
    "drop_path",
)


def stored_bytes(network: NetworkGraph, batch: int, bfloat16: bool) -> int:
    """Return the bytes of the feature maps of ``batch`` images that are kept for backward passes."""
    kept = {name for node in network.nodes if node.op in _OPS_KEPT for name in node.inputs}
    numbers = sum(prod(network.shapes[name]) for name in kept)
    # Logits and weights of all heads.
    numbers += sum(2 * n.attrs["heads"] * network.shapes[n.name][0] ** 2 for n in network.nodes if n.op == "attention")
    return numbers * batch * (2 if bfloat16 else _FLOAT)
