"""Compute the points of a ROC curve and the area under it, equal bit for bit to scikit-learn's.

``sklearn.metrics.roc_curve`` and ``auc`` compute the same in as few lines, but importing them takes half a second of
CPU time, which each training and verification would pay in each of its processes.
"""

from __future__ import annotations

import numpy as np


def roc_curve(issame: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (fpr, tpr), float64, from (0, 0) on with one point per distinct distance, from the smallest up.

    Equal to ``sklearn.metrics.roc_curve(issame, -distances, drop_intermediate=False)``.

    Args:
        issame: bool [N], with at least one pair of either kind.
        distances: float [N], finite.
    """
    order = np.argsort(distances, kind="stable")
    ordered = distances[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of each run of equal distances
    true_accepts = np.cumsum(issame[order])[last]
    false_accepts = 1 + last - true_accepts
    return _rates(false_accepts), _rates(true_accepts)


def _rates(accepts: np.ndarray) -> np.ndarray:
    return np.append(0, accepts) / accepts[-1]


def area_under(fpr: np.ndarray, tpr: np.ndarray) -> float:
    """Return the area under the curve by the trapezoidal rule, as ``sklearn.metrics.auc``; ``fpr`` must ascend."""
    return float(np.trapz(tpr, fpr))
