"""The steps of InsightFace's IJB scripts in their own way: loops over templates, medias and batches of pairs.

Written anew from what ``ijb_11.py`` computes, with the same numpy calls on the same types, so that time and numbers can
be compared. Ours must give the same templates, bit for bit.
"""

from __future__ import annotations

import numpy as np
from sklearn.preprocessing import normalize

PAIRS_AT_ONCE = 100_000


def pool_in_loops(
    features: np.ndarray, templates: np.ndarray, medias: np.ndarray, chosen: np.ndarray | None = None
) -> np.ndarray:
    """Return the templates' features, float64 [T, E].

    Args:
        features: float32 [N, E].
        templates: int [N].
        medias: int [N].
        chosen: template numbers, ascending; None: all.
    """
    chosen = np.unique(templates) if chosen is None else chosen
    sums = np.zeros((len(chosen), features.shape[1]))
    for row, template in enumerate(chosen):
        images = np.where(templates == template)[0]
        rows, own_medias = features[images], medias[images]
        parts = []
        for media, count in zip(*np.unique(own_medias, return_counts=True), strict=True):
            frames = rows[np.where(own_medias == media)[0]]
            parts.append(frames if count == 1 else np.mean(frames, axis=0, keepdims=True))
        sums[row] = np.sum(np.array(parts), axis=0)
    return normalize(sums)


def score_in_batches(features: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the dot product of each pair, float64 [P].

    Args:
        features: float64 [T, E].
        first: int [P], rows of ``features``.
        second: int [P].
    """
    scores = np.zeros(len(first))
    for begin in range(0, len(first), PAIRS_AT_ONCE):
        batch = slice(begin, begin + PAIRS_AT_ONCE)
        scores[batch] = np.sum(features[first[batch]] * features[second[batch]], -1)
    return scores
