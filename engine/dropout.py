"""Dropout masks as a function of the seed and the image's place in the training stream."""

from __future__ import annotations

import numpy as np

_PURPOSE = 0x64726F70  # keeps these draws apart from others of the same seed


def draw_keep_masks(seed: int, position: int, count: int, width: int, drop: float) -> np.ndarray:
    """Return uint8 [count, max(width, 1)]: 1 where a value is kept, for stream positions ``position``.. onwards.

    A row depends on (seed, its position) alone: neither the ranks nor an interruption change it.
    """
    if width == 0:
        return np.zeros((count, 1), np.uint8)
    masks = np.empty((count, width), np.uint8)
    limit = round((1 - drop) * 65536)
    words = -(-width // 4)
    for row in range(count):
        generator = np.random.Philox(key=[seed, _PURPOSE], counter=[0, 0, position + row, 0])
        masks[row] = generator.random_raw(words).view(np.uint16)[:width] < limit
    return masks
