"""Give the classes of a set the numbers 0, 1, 2, ... without gaps."""

from __future__ import annotations

import numpy as np


def renumber(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return the new class of each old one, int64 [num_classes]: in the same order, -1 for one without images.

    Args:
        labels: int [N], the old class of every image that stays.
        num_classes: number of old classes.
    """
    has_images = np.zeros(num_classes, bool)
    has_images[labels] = True
    return np.where(has_images, np.cumsum(has_images) - 1, -1)
