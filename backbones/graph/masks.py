"""Keep masks: which values training drops at random, their columns in a mask, and how masks are drawn.

A mask is a function of the seed and the image's position in the training stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from backbones.graph.network_graph import NetworkGraph

MASKED_OPS = ("dropout", "drop_path", "token_mask")
_PURPOSE = 0x64726F70  # separates these draws from others with the same seed


@dataclass(frozen=True)
class Mask:
    """Columns ``start``..``stop`` - 1 of the keep mask, of which a share ``drop`` is 0.

    Each column is drawn independently or, if ``exact``, every row keeps the same number of columns.
    """

    start: int
    stop: int
    drop: float
    exact: bool = False


def masks_by_node(network: NetworkGraph) -> dict[str, Mask]:
    """Return the columns of each node that drops values, by node name."""
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


def draw_keep_masks(seed: int, position: int, count: int, masks: Sequence[Mask]) -> np.ndarray:
    """Return the keep masks of the images at ``position`` .. ``position + count - 1`` of the training stream.

    Returns uint8 [count, max(width of all masks, 1)], 1 where a value is kept. A row depends only on
    the seed and its position, not on the number of ranks or on interruptions.
    """
    width = mask_width(masks)
    if width == 0:
        return np.zeros((count, 1), np.uint8)
    keep = np.empty((count, width), np.uint8)
    limits = np.concatenate([np.full(mask.stop - mask.start, round((1 - mask.drop) * 65536)) for mask in masks])
    words = -(-width // 4)
    for row in range(count):
        generator = np.random.Philox(key=[seed, _PURPOSE], counter=[0, 0, position + row, 0])
        numbers = generator.random_raw(words).view(np.uint16)[:width]
        keep[row] = numbers < limits
        for mask in masks:
            if mask.exact:
                columns = slice(mask.start, mask.stop)
                keep[row, columns] = _keep_smallest(numbers[columns], mask.drop)
    return keep


def _keep_smallest(numbers: np.ndarray, drop: float) -> np.ndarray:
    """Return 1 for the smallest numbers, a share of 1 - ``drop``, and 0 for the rest."""
    keep = np.zeros(len(numbers), np.uint8)
    keep[np.argsort(numbers, kind="stable")[: int(len(numbers) * (1 - drop))]] = 1
    return keep
