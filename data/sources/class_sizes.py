"""Counts the images of each class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from data.sources.base import ImageSource

_BLOCK = 1 << 20  # labels read at once


def number_blocks(source: ImageSource) -> Iterator[np.ndarray]:
    """Yield the numbers of all images of ``source``, int64, in blocks."""
    for start in range(0, len(source), _BLOCK):
        yield np.arange(start, min(start + _BLOCK, len(source)))


def count_images(source: ImageSource) -> np.ndarray:
    """Return the number of images of each class, int64 [num_classes]."""
    counts = np.zeros(source.num_classes, np.int64)
    for block in number_blocks(source):
        counts += np.bincount(source.labels(block), minlength=source.num_classes)
    return counts
