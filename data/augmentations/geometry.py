"""Mirror, shift and zoom: the mirror is InsightFace's ``rand_mirror``, the other two help with small datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from data.random_numbers import Purpose, random_bits, random_signed


@dataclass(frozen=True)
class Geometry:
    """A ``Family``; its numbers are: mirror (0 or 1), the shift in x and y in pixels, the zoom factor.

    Attributes:
        mirror: mirror left to right with probability one half.
        shift: move by up to this many pixels in each direction, edges repeated.
        zoom: enlarge or shrink about the centre by up to this share (0.1: 0.9 to 1.1 times).
    """

    columns: ClassVar[int] = 4
    mirror: bool = True
    shift: float = 0.0
    zoom: float = 0.0

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return float32 [B, 4]."""
        draws = np.zeros((len(indices), 4), np.float32)
        if self.mirror:
            draws[:, 0] = random_bits(seed, Purpose.MIRROR, epochs, indices) >> np.uint64(63)
        if self.shift:
            draws[:, 1] = self.shift * random_signed(seed, Purpose.SHIFT_X, epochs, indices)
            draws[:, 2] = self.shift * random_signed(seed, Purpose.SHIFT_Y, epochs, indices)
        draws[:, 3] = 1.0 + self.zoom * random_signed(seed, Purpose.ZOOM, epochs, indices) if self.zoom else 1.0
        return draws

    @staticmethod
    def apply(image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
        """Mirror in place, then move and zoom in one bilinear step into new memory."""
        mirror, dx, dy, zoom = draw
        if mirror:
            image = cv2.flip(image, 1, image)
        if dx == 0 == dy and zoom == 1:
            return image
        centre = (image.shape[0] - 1) / 2
        offset = centre * (1 - zoom)
        matrix = np.array([[zoom, 0, offset + dx], [0, zoom, offset + dy]])
        size = (image.shape[1], image.shape[0])
        return cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE)
