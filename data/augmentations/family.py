"""The interface of a family of random changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Family(Protocol):
    """One kind of change. Random numbers are drawn for many images at once, then applied to each image after decoding.

    Attributes:
        columns: random numbers drawn per image.
    """

    columns: int

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Draw float32 [B, columns] for the images ``indices`` [B] in ``epochs`` (a scalar or [B])."""
        ...

    def apply(self, image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
        """Apply one row of ``draw`` to ``image``, uint8 [S, S, 3], in place or into new memory; return the result."""
        ...
