"""Rotation and stretching; they help with small datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from data.random_numbers import Purpose, random_signed


@dataclass(frozen=True)
class Warp:
    """A ``Family``: rotate and stretch about the centre, repeating the edges.

    Its numbers are the angle in degrees, counter-clockwise, and the factor by which the width grows and the height
    shrinks.

    Attributes:
        rotation: turn by up to this many degrees in each direction.
        stretch: widen or narrow against the height by up to this share (0.1: 0.9 to 1.1 times).
    """

    columns: ClassVar[int] = 2
    rotation: float = 0.0
    stretch: float = 0.0

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return float32 [B, 2]."""
        angle = self.rotation * random_signed(seed, Purpose.WARP, epochs, indices)
        aspect = 1 + self.stretch * random_signed(seed, Purpose.WARP + 1, epochs, indices)
        return np.stack([angle, np.sqrt(aspect)], axis=1).astype(np.float32)

    @staticmethod
    def apply(image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
        """Rotate and stretch in one bilinear step."""
        angle, factor = draw
        height, width = image.shape[:2]
        centre = ((width - 1) / 2, (height - 1) / 2)
        turn = cv2.getRotationMatrix2D(centre, angle, 1)
        linear = turn[:, :2] @ np.diag([factor, 1 / factor])
        matrix = np.column_stack([linear, np.array(centre) - linear @ centre])
        return cv2.warpAffine(np.ascontiguousarray(image), matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
