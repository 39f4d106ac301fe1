"""Count the images of each class: gaps between labels, classes without images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Classes:
    """Which classes have images.

    Attributes:
        labels: int64 [P], the classes with images, ascending.
        counts: int64 [P], the images of each.
        gaps: (first, last) of the stretches of missing numbers below the largest label.
        missing_at_end: (first, last) of the classes above the largest label that the set says it has, or None.
        num_classes: number of classes that the set says it has, or None.
        images_beyond: number of images whose label is not below ``num_classes``.
    """

    labels: np.ndarray
    counts: np.ndarray
    gaps: list[tuple[int, int]]
    missing_at_end: tuple[int, int] | None
    num_classes: int | None
    images_beyond: int

    @property
    def num_missing(self) -> int:
        """Number of classes without an image."""
        ends = [*self.gaps, *([self.missing_at_end] if self.missing_at_end else [])]
        return sum(last - first + 1 for first, last in ends)


def count_classes(labels: np.ndarray, num_classes: int | None) -> Classes:
    """Count the images of each class; ``labels`` (int32 [N]) below 0 count for none."""
    labels = labels[labels >= 0]
    found, counts = np.unique(labels, return_counts=True)
    found = found.astype(np.int64)
    before = np.r_[-1, found]
    holes = np.flatnonzero(np.diff(before) > 1)
    gaps = [(int(before[hole]) + 1, int(before[hole + 1]) - 1) for hole in holes]
    end, beyond = None, 0
    if num_classes is not None:
        largest = int(before[-1])
        end = (largest + 1, num_classes - 1) if largest + 1 < num_classes else None
        beyond = int((labels >= num_classes).sum())
    return Classes(found, counts, gaps, end, num_classes, beyond)


def describe_ranges(ranges: list[tuple[int, int]], limit: int = 10) -> str:
    """Return ``3, 7-9, 12`` for (3, 3), (7, 9), (12, 12); the text ends after ``limit`` ranges."""
    words = [str(first) if first == last else f"{first}-{last}" for first, last in ranges[:limit]]
    return ", ".join(words) + (", ..." if len(ranges) > limit else "")
