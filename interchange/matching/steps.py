"""Networks compared by structure: what each node computes from what, whatever its name.

Two spellings of one network count as equal: a convolution or fully connected layer with its BatchNorm and one into
which the BatchNorm was folded; dropout or none; the order of the terms of a sum. Constants that values can be adapted
to (eps, the scale of the preprocessing) are no structure either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backbones.graph.network_graph import NetworkGraph, Node

LINEAR = ("conv", "fully_connected")
COMMUTATIVE = ("add",)
# What inference does without.
INVISIBLE = ("dropout", "drop_path", "token_mask", "fill_masked")
MASK = "token_mask"
# What values are adapted to (adapt.py), or what matters in training alone.
ADAPTED = ("eps", "momentum", "fix_gamma", "bias", "mean", "scale", "p", "shared")
EXACT = ("layer_norm",)  # its eps has no moving variance to go into
COMPARED = ("eps", "fix_gamma", "scale")  # of these, what tells families apart that are the same otherwise


@dataclass(frozen=True)
class Step:
    """One unit of the comparison: a node, with the BatchNorm after it where that belongs to it.

    ``inputs`` are the steps before it; ``label`` says what it does, without where, ``detail`` the constants that values
    can be adapted to; ``key`` is equal for two steps that compute the same from the image.
    """

    node: Node
    norm: Node | None
    inputs: tuple[Step, ...]
    label: tuple
    detail: tuple
    key: int


def find_steps(network: NetworkGraph) -> Mapping[str, Step]:
    """Return the steps of ``network`` in order, by the name of the value that each makes."""
    users: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    steps: dict[str, Step] = {}
    values: dict[str, str] = {}  # name of a value -> the step that makes it
    masks = {node.name for node in network.nodes if node.op == MASK}
    for node in network.nodes:
        if node.op in INVISIBLE:
            values[node.name] = values[node.inputs[0]]
            continue
        if node.name in values:  # a BatchNorm that its linear layer has taken along
            continue
        norm = None
        if node.op in LINEAR:
            after = users.get(node.name, [])
            norm = after[0] if len(after) == 1 and after[0].op == "batch_norm" else None
        inputs = tuple(steps[values[name]] for name in node.inputs if name not in masks)
        step = _make_step(network, node, norm, inputs)
        name = norm.name if norm else node.name
        steps[name] = step
        values[node.name] = values[name] = name
    return steps


def _make_step(network: NetworkGraph, node: Node, norm: Node | None, inputs: tuple[Step, ...]) -> Step:
    adapted = () if node.op in EXACT else ADAPTED
    constants = tuple(sorted((key, value) for key, value in node.attrs.items() if key not in adapted))
    label = (node.op, constants, network.shapes[node.name])
    found = [(key, each.attrs[key]) for each in (node, norm) if each for key in COMPARED if key in each.attrs]
    detail = tuple((node.op, *item) for item in (*found, ("norm", norm is not None)))
    keys = [step.key for step in inputs]
    if node.op in COMMUTATIVE:
        keys.sort()
    return Step(node, norm, inputs, label, detail, hash((label, *keys)))


def pair_steps(mine: NetworkGraph, theirs: NetworkGraph) -> list[tuple[Step, Step]] | None:
    """Return each step of ``mine`` with the one of ``theirs`` that does the same, None if the networks differ."""
    first, second = find_steps(mine), find_steps(theirs)
    a, b = list(first.values())[-1], list(second.values())[-1]
    if a.key != b.key or len(first) != len(second):
        return None
    pairs: dict[str, tuple[Step, Step]] = {}
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
    return [pairs[step.node.name] for step in first.values()]
