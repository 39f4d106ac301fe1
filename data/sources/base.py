"""The interface of everything the loader reads images from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class ImageSource(Protocol):
    """Numbered images, each with a class.

    Reading is split in two, so that only the parent process holds data that grows with the dataset: ``locate`` and
    ``labels`` run there, ``fetch`` runs in the workers, which receive a pickled copy of the source without its index.

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
        """Return the locations of the images ``indices`` (int64 [B]) for ``fetch``, int64 [B, K]."""
        ...

    def fetch(self, locations: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Read the images at ``locations``, rows returned by ``locate``: uint8 [image_size, image_size, 3] each, RGB.

        Each result is its place (given memory of that shape) or new memory, whichever is faster; the caller may modify
        it.

        Raises:
            BadImageError: an image is bad; it names the file and the byte offset. The others may be good.
            UserError: the file cannot be read.
        """
        ...
