"""What the loader reads from: anything with numbered images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class ImageSource(Protocol):
    """Numbered images with a class each.

    Reading has two halves, so that the parent process alone holds what grows with the dataset: ``locate`` and
    ``labels`` run there, ``fetch`` in the workers, which receive a pickled copy of the source and need not hold the
    index.

    Attributes:
        image_size: height and width of the images in pixels.
        num_classes: labels are 0..num_classes-1.
    """

    image_size: int
    num_classes: int

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Return the classes, int32 [B], of the images ``indices`` (int64 [B])."""
        ...

    def locate(self, indices: np.ndarray) -> np.ndarray:
        """Return int64 [B, K]: all that ``fetch`` needs to find the images ``indices`` (int64 [B])."""
        ...

    def fetch(self, locations: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return uint8 [image_size, image_size, 3], RGB, for each row of what ``locate`` returned.

        Each is its place, memory of that shape, or new memory where that takes less time; the caller may change it.

        Raises:
            UserError: the record is bad; the message names the file and the byte offset.
        """
        ...
