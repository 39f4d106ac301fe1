"""Low resolution, of AdaFace's training (arXiv:2204.00964; ``low_res_augmentation`` of its data.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from data.random_numbers import Purpose, random_share

_SIDE = (0.2, 1.0)  # length of the small image's side over the image's
_INTERPOLATIONS = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


@dataclass(frozen=True)
class LowResolution:
    """A ``Family``: scale the image down and up again, each with one of five interpolations.

    Its numbers are the relative side of the small image (0: unchanged), and the interpolations down and up, 0 to 4.

    Attributes:
        probability: of a change.
    """

    columns: ClassVar[int] = 3
    probability: float

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return float32 [B, 3]."""
        chosen, side, down, up = (random_share(seed, Purpose.LOW_RES + i, epochs, indices) for i in range(4))
        side = np.where(chosen < self.probability, _SIDE[0] + (_SIDE[1] - _SIDE[0]) * side, 0)
        count = len(_INTERPOLATIONS)
        return np.stack([side, np.floor(count * down), np.floor(count * up)], axis=1).astype(np.float32)

    @staticmethod
    def apply(image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
        """Scale down and up."""
        if draw[0] == 0:
            return image
        small_side = max(1, int(draw[0] * image.shape[0]))
        small = cv2.resize(image, (small_side, small_side), interpolation=_INTERPOLATIONS[int(draw[1])])
        return cv2.resize(small, image.shape[1::-1], interpolation=_INTERPOLATIONS[int(draw[2])])
