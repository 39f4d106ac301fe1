"""Dropout masks as a function of the seed and the image's place in the training stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backbones.graph.masks import Mask, mask_width

_PURPOSE = 0x64726F70  # keeps these draws apart from others of the same seed


def draw_keep_masks(seed: int, position: int, count: int, masks: Sequence[Mask]) -> np.ndarray:
    """Return uint8 [count, max(width of all masks, 1)]: 1 where a value is kept, for stream positions ``position``...

    A row depends on (seed, its position) alone: neither the ranks nor an interruption change it.
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
    """Return 1 for the smallest numbers, as many as are left when a share ``drop`` goes."""
    keep = np.zeros(len(numbers), np.uint8)
    keep[np.argsort(numbers, kind="stable")[: int(len(numbers) * (1 - drop))]] = 1
    return keep
