"""Gammas of files that do not say whether their trainer replaces them by 1 (MXNet's ``fix_gamma``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backbones.graph.network_graph import Node
from interchange.foreign_model import ForeignModel
from interchange.matching.canonical_layers import CanonicalLayer


def settle_gammas(foreign: ForeignModel, pairs: Sequence[tuple[CanonicalLayer, CanonicalLayer]] | None) -> ForeignModel:
    """Return the model with gammas of 1 where MXNet computes with 1 and its exporter has written others.

    Args:
        foreign: the model.
        pairs: the layers of one of our networks, which knows where, with those of the model; None if it is none of
            ours, so that the stored gammas are taken.
    """
    if not foreign.loose_gammas:
        return foreign
    if pairs is None:
        note = "its exporter, MXNet's, drops fix_gamma, and the network is not known here: gammas are taken as stored"
        return foreign.with_notes(note)
    arrays, changed = dict(foreign.arrays), []
    for mine, theirs in pairs:
        for ours, norm in ((mine.node, theirs.node), (mine.norm, theirs.norm)):
            if _is_fixed(ours) and norm is not None and norm.op == "batch_norm":
                name = norm.arrays["gamma"]
                if np.any(arrays[name] != 1):
                    changed.append(name)
                    arrays[name] = np.ones_like(arrays[name])
    if not changed:
        return foreign
    ones = [foreign.loose_gammas[name] for name in changed]
    shown = ", ".join(ones[:3]) + (f" and {len(ones) - 3} more" if len(ones) > 3 else "")
    note = f"its exporter, MXNet's, drops fix_gamma: {shown} taken as 1, as InsightFace's networks have it"
    return foreign.replaced(arrays=arrays, ones=frozenset(ones)).with_notes(note)


def _is_fixed(node: Node | None) -> bool:
    return node is not None and node.op == "batch_norm" and node.attrs["fix_gamma"]
