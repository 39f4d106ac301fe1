"""Contrast and brightness, as exposure and light change them; they help with small datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from data.random_numbers import Purpose, random_signed


@dataclass(frozen=True)
class Exposure:
    """A ``Family``: scale the difference of all pixels from the image's mean, then add a share of the mean.

    Unlike the brightness of ``color``, the share is added: dark pixels change as much as bright ones. Its numbers are
    the factor and the share.

    Attributes:
        contrast: the factor is 1 - contrast to 1 + contrast.
        brightness: the share is -brightness to brightness.
    """

    columns: ClassVar[int] = 2
    contrast: float = 0.0
    brightness: float = 0.0

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return float32 [B, 2]."""
        factor = 1 + self.contrast * random_signed(seed, Purpose.EXPOSURE, epochs, indices)
        share = self.brightness * random_signed(seed, Purpose.EXPOSURE + 1, epochs, indices)
        return np.stack([factor, share], axis=1).astype(np.float32)

    @staticmethod
    def apply(image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
        """Apply factor and share; clip to 0..255."""
        factor, share = draw
        mean = sum(cv2.mean(image)[:3]) / 3
        table = np.arange(256) * factor + mean * (1 - factor + share)
        return cv2.LUT(image, np.clip(np.rint(table), 0, 255).astype(np.uint8))
