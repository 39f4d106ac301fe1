"""Compare networks by structure: the operation and the inputs of each layer, independent of names.

Two forms of one network count as equal: a convolution or fully connected layer followed by a BatchNorm and one into
which the BatchNorm was folded; with dropout and without; any order of the terms of a sum. Constants to which values
can be adapted (eps, the scale of the preprocessing) do not count as structure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backbones.graph.network_graph import NetworkGraph, Node

LINEAR = ("conv", "fully_connected")
COMMUTATIVE = ("add",)
# Operators that inference skips.
INVISIBLE = ("dropout", "drop_path", "token_mask", "fill_masked")
MASK = "token_mask"
# Constants to which values are adapted (adapt.py), or which only training uses.
ADAPTED = ("eps", "momentum", "fix_gamma", "bias", "mean", "scale", "p", "shared")
EXACT = ("layer_norm",)  # its eps cannot be absorbed by a moving variance
COMPARED = ("eps", "fix_gamma", "scale")  # those of ADAPTED that tell apart families which are otherwise equal


@dataclass(frozen=True)
class CanonicalLayer:
    """One unit of the comparison.

    Attributes:
        node: the node.
        norm: the BatchNorm that follows a linear node and belongs to it, else None.
        inputs: the layers whose values it takes.
        label: operator, constants and shape, without its place in the network.
        detail: the constants to which values can be adapted.
        key: a hash, equal for two layers that compute the same from the image.
    """

    node: Node
    norm: Node | None
    inputs: tuple[CanonicalLayer, ...]
    label: tuple
    detail: tuple
    key: int


def canonical_layers(network: NetworkGraph) -> Mapping[str, CanonicalLayer]:
    """Return the layers of ``network`` in order, by the name of the value that each computes."""
    users: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    layers: dict[str, CanonicalLayer] = {}
    values: dict[str, str] = {}  # name of a value -> name of the layer that computes it
    masks = {node.name for node in network.nodes if node.op == MASK}
    for node in network.nodes:
        if node.op in INVISIBLE:
            values[node.name] = values[node.inputs[0]]
            continue
        if node.name in values:  # a BatchNorm that belongs to its linear layer
            continue
        norm = None
        if node.op in LINEAR:
            after = users.get(node.name, [])
            norm = after[0] if len(after) == 1 and after[0].op == "batch_norm" else None
        inputs = tuple(layers[values[name]] for name in node.inputs if name not in masks)
        layer = _make_layer(network, node, norm, inputs)
        name = norm.name if norm else node.name
        layers[name] = layer
        values[node.name] = values[name] = name
    return layers


def _make_layer(
    network: NetworkGraph, node: Node, norm: Node | None, inputs: tuple[CanonicalLayer, ...]
) -> CanonicalLayer:
    adapted = () if node.op in EXACT else ADAPTED
    constants = tuple(sorted((key, value) for key, value in node.attrs.items() if key not in adapted))
    label = (node.op, constants, network.shapes[node.name])
    found = [(key, each.attrs[key]) for each in (node, norm) if each for key in COMPARED if key in each.attrs]
    detail = tuple((node.op, *item) for item in (*found, ("norm", norm is not None)))
    keys = [layer.key for layer in inputs]
    if node.op in COMMUTATIVE:
        keys.sort()
    return CanonicalLayer(node, norm, inputs, label, detail, hash((label, *keys)))


def pair_layers(mine: NetworkGraph, theirs: NetworkGraph) -> list[tuple[CanonicalLayer, CanonicalLayer]] | None:
    """Return each layer of ``mine`` with its equal in ``theirs``; None if the networks differ."""
    first, second = canonical_layers(mine), canonical_layers(theirs)
    a, b = list(first.values())[-1], list(second.values())[-1]
    if a.key != b.key or len(first) != len(second):
        return None
    pairs: dict[str, tuple[CanonicalLayer, CanonicalLayer]] = {}
    stack = [(a, b)]
    while stack:
        a, b = stack.pop()
        if a.node.name in pairs:
            continue
        pairs[a.node.name] = (a, b)
        inputs = list(b.inputs)
        if a.node.op in COMMUTATIVE:
            inputs = [inputs.pop(next(i for i, x in enumerate(inputs) if x.key == wanted.key)) for wanted in a.inputs]
        stack.extend(zip(a.inputs, inputs, strict=True))
    return [pairs[layer.node.name] for layer in first.values()]


def explain_difference(network: NetworkGraph, foreign: NetworkGraph) -> str:
    """Return in words where ``network`` and the network of a file first differ."""
    ours, theirs = (list(canonical_layers(each).values()) for each in (network, foreign))
    for a, b in zip(ours, theirs, strict=False):
        if a.label != b.label:
            return f"where it has {_describe(a)}, the file has {_describe(b)}, its '{b.node.name}'"
    if len(ours) == len(theirs):
        return "the layers are the same, but their connections differ"
    return f"it has {len(ours)} layers, the file {len(theirs)}"


def _describe(layer: CanonicalLayer) -> str:
    op, constants, shape = layer.label
    settings = "".join(f" {key}={value}" for key, value in constants)
    return f"{op}{settings} giving {'x'.join(map(str, shape))}"
