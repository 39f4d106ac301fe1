"""Compute numbers from times and results: medians, quartiles, differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def images_per_second(batch: int, times: Sequence[float]) -> float:
    """Return the median speed of steps of ``batch`` images that took ``times`` seconds each."""
    return batch / float(np.median(times))


def speed_range(batch: int, times: Sequence[float]) -> tuple[float, float]:
    """Return the first and third quartile of the steps' speeds, images/s."""
    slow, fast = np.percentile(times, [75, 25])
    return batch / float(slow), batch / float(fast)


def relative_difference(results: Sequence[float], reference: Sequence[float]) -> float:
    """Return ||results - reference|| / ||reference||; infinite if their lengths differ or a value is not finite."""
    a, b = np.asarray(results, np.float64), np.asarray(reference, np.float64)
    if a.shape != b.shape or not np.isfinite(a).all() or not np.isfinite(b).all():
        return float("inf")
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def consensus_index(results: Sequence[Sequence[float]]) -> int:
    """Return the index of the results that are nearest to all others: those that most contestants agree on.

    Raises:
        ValueError: there are no results.
    """
    distances = [sum(min(relative_difference(a, b), 1.0) for b in results) for a in results]
    return int(np.argmin(distances))
