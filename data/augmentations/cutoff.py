"""Cutoff: a grey square, as in InsightFace's image_iter.py (the idea is Cutout's, arXiv:1708.04552)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from data.random_numbers import Purpose, random_share

_GREY = 128


@dataclass(frozen=True)
class Cutoff:
    """A ``Family``: fill a square around a random pixel with grey (128), clipped to the image.

    Its numbers are 1 or 0 (unchanged), and the centre's row and column as shares of the image, in [0, 1).

    Attributes:
        size: side of the square in pixels; an odd size counts as one pixel less, as in InsightFace.
        probability: of a change; one half in InsightFace.
    """

    columns: ClassVar[int] = 3
    size: int
    probability: float = 0.5

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return float32 [B, 3]."""
        chosen, *centre = (random_share(seed, Purpose.CUTOFF + i, epochs, indices) for i in range(3))
        return np.stack([chosen < self.probability, *centre], axis=1).astype(np.float32)

    def apply(self, image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
        """Fill the square."""
        if draw[0] == 0:
            return image
        half = self.size // 2
        row, column = (int(share * side) for share, side in zip(draw[1:], image.shape, strict=False))
        cut = image.copy()
        cut[max(0, row - half) : row + half, max(0, column - half) : column + half] = _GREY
        return cut
