"""Strong JPEG compression: ``compress_aug`` of InsightFace's image_iter.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from data.image import decode_image, encode_jpeg
from data.random_numbers import Purpose, random_share

_QUALITY = (2, 20)


@dataclass(frozen=True)
class Compression:
    """A ``Family``: encode as JPEG of quality 2 to 20 and decode; its number is the quality (0: unchanged).

    Attributes:
        probability: of a change; one half in InsightFace.
    """

    columns: ClassVar[int] = 1
    probability: float = 0.5

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return float32 [B, 1]."""
        chosen = random_share(seed, Purpose.JPEG, epochs, indices) < self.probability
        low, high = _QUALITY
        quality = low + np.floor((high - low + 1) * random_share(seed, Purpose.JPEG + 1, epochs, indices))
        return np.where(chosen, quality, 0).astype(np.float32)[:, None]

    @staticmethod
    def apply(image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
        """Encode and decode."""
        return decode_image(encode_jpeg(image, int(draw[0])), image.shape[0]) if draw[0] else image
