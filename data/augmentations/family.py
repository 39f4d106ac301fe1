"""What a family of changes is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Family(Protocol):
    """Changes of one kind. What is random is drawn for many images at once, then applied to each where it is decoded.

    Attributes:
        columns: how many numbers are drawn for an image.
    """

    columns: int

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return float32 [B, columns] for the images ``indices`` [B] in their ``epochs`` (a scalar or [B])."""
        ...

    def apply(self, image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
        """Return uint8 [S, S, 3], ``image`` changed as one row of ``draw`` says, where it lies or in new memory."""
        ...
