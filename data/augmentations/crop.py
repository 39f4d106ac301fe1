"""Random crop on black, of AdaFace's training (arXiv:2204.00964, section 4.1; ``augment`` of its data.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from data.random_numbers import Purpose, random_share

_AREA = (0.2, 1.0)  # share of the image that is kept
_ASPECT = (3 / 4, 4 / 3)  # width over height
_ATTEMPTS = 10  # as torchvision's RandomResizedCrop: then the whole image is kept


@dataclass(frozen=True)
class Crop:
    """A ``Family``: keep a rectangle of the image in place and blacken the rest.

    Its numbers are the height and width of the rectangle as shares of the image (0: unchanged), and its position from
    the top and the left as shares of the possible positions, in [0, 1).

    Attributes:
        probability: of a change.
    """

    columns: ClassVar[int] = 4
    probability: float

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Draw float32 [B, 4]: area and aspect ratio are redrawn until the rectangle fits, at most ten times."""
        epochs = np.broadcast_to(epochs, len(indices))
        draws = np.zeros((len(indices), 4), np.float32)
        chosen = random_share(seed, Purpose.CROP, epochs, indices) < self.probability
        draws[chosen, :2] = 1
        draws[:, 2] = random_share(seed, Purpose.CROP + 1, epochs, indices)
        draws[:, 3] = random_share(seed, Purpose.CROP + 2, epochs, indices)
        open_rows = np.flatnonzero(chosen)
        for attempt in range(_ATTEMPTS):
            purpose, where = Purpose.CROP + 3 + 2 * attempt, (epochs[open_rows], indices[open_rows])
            area = _AREA[0] + (_AREA[1] - _AREA[0]) * random_share(seed, purpose, *where)
            low, high = np.log(_ASPECT)
            aspect = np.exp(low + (high - low) * random_share(seed, purpose + 1, *where))
            shares = np.sqrt(np.stack([area / aspect, area * aspect], axis=1))
            fits = shares.max(axis=1) <= 1
            draws[open_rows[fits], :2] = shares[fits]
            open_rows = open_rows[~fits]
        return draws

    @staticmethod
    def apply(image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
        """Blacken all but the rectangle."""
        if draw[0] == 0:
            return image
        height, width = (max(1, round(side * share)) for side, share in zip(image.shape, draw[:2], strict=False))
        top = int(draw[2] * (image.shape[0] - height + 1))
        left = int(draw[3] * (image.shape[1] - width + 1))
        cropped = np.zeros_like(image)
        kept = (slice(top, top + height), slice(left, left + width))
        cropped[kept] = image[kept]
        return cropped
