"""What is left out at random in training: where its decisions are in the mask that the caller draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from backbones.graph.network_graph import NetworkGraph

MASKED_OPS = ("dropout", "drop_path", "token_mask")


@dataclass(frozen=True)
class Mask:
    """Columns ``start``..``stop`` - 1 of the keep mask, of which a share ``drop`` is 0.

    Each column is drawn for itself, or, with ``exact``, the same number of them is kept in every row.
    """

    start: int
    stop: int
    drop: float
    exact: bool = False


def find_masks(network: NetworkGraph) -> dict[str, Mask]:
    """Return the columns of each node that leaves something out, by its name."""
    masks: dict[str, Mask] = {}
    start = 0
    for node in network.nodes:
        if node.op in MASKED_OPS:
            stop = start + (1 if node.op == "drop_path" else prod(network.shapes[node.name]))
            masks[node.name] = Mask(start, stop, node.attrs["p"], node.op == "token_mask")
            start = stop
    return masks


def mask_width(masks: Sequence[Mask]) -> int:
    """Return the columns of the whole keep mask."""
    return max((mask.stop for mask in masks), default=0)
