"""Groups of nodes that several network families share."""

from __future__ import annotations

from backbones.graph import NetworkGraph


def add_image_input(graph: NetworkGraph, image_size: int) -> str:
    """Add the RGB image input ``data`` (3, S, S), values 0..255, and the (x - 127.5) / 128 of MXNet networks."""
    data = graph.input("data", (3, image_size, image_size))
    return graph.scale_shift(data, "preprocess", mean=127.5, scale=0.0078125)


def add_activation(graph: NetworkGraph, x: str, name: str, kind: str) -> str:
    """Add the activation that config key ``net_act`` names: prelu with its slopes, or one of ``ACTIVATION_TYPES``."""
    if kind == "prelu":
        return graph.prelu(x, name)
    return graph.activation(x, name, kind)
