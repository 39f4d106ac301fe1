"""Describes how class centres lie: their lengths, and the angles between them."""

from __future__ import annotations

import numpy as np

from evaluation.similarity import cosine_similarity_matrix


def describe_centres(centres: np.ndarray) -> dict[str, float]:
    """Return statistics of ``centres`` [N, E]; angles need at least two.

    ``norm_mean``, ``norm_std``, ``norm_min`` and ``norm_max``; ``angle_mean``, in degrees, of all pairs;
    ``nearest_mean`` and ``nearest_min``, in degrees, of each centre's nearest one.
    """
    norms = np.linalg.norm(centres, axis=1)
    values = {"norm_mean": norms.mean(), "norm_std": norms.std(), "norm_min": norms.min(), "norm_max": norms.max()}
    if len(centres) > 1:
        angles = np.degrees(np.arccos(cosine_similarity_matrix(centres, centres)))
        np.fill_diagonal(angles, np.nan)
        nearest = np.nanmin(angles, axis=1)
        values |= {"angle_mean": np.nanmean(angles), "nearest_mean": nearest.mean(), "nearest_min": nearest.min()}
    return {name: float(value) for name, value in values.items()}
