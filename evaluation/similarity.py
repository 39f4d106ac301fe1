"""Compare embeddings: cosine similarity, and the distance that InsightFace's verification reports.

For embeddings x and y with the unit vectors u = x / |x| and v = y / |y|:

    cosine similarity   u . v                        -1 (opposite directions) to 1 (same direction)
    distance            |u - v|^2 = 2 - 2 (u . v)    0 (same direction) to 4 (opposite directions)

A zero embedding keeps the zero vector as u, so its cosine similarity is 0 and its distance from a unit vector 1. All
results are float64. A pair is the same person if the similarity is high or, equally, the distance is low.
"""

from __future__ import annotations

import numpy as np

from common.errors import UserError


def normalize_rows(embeddings: np.ndarray) -> np.ndarray:
    """Return ``embeddings [N, E]`` as float64 rows of L2 norm 1; a zero row stays zero (as sklearn's ``normalize``)."""
    embeddings = np.asarray(embeddings, dtype=np.float64)
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(norms == 0, 1.0, norms)


def cosine_similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of row i of ``first`` and row i of ``second``, float64 [N].

    Args:
        first: embeddings [N, E], float32 or float64, of any length.
        second: embeddings [N, E].

    Raises:
        UserError: the arrays do not have one shape [N, E].
    """
    _check_rows(first, second)
    return np.einsum("ne,ne->n", normalize_rows(first), normalize_rows(second)).clip(-1, 1)


def cosine_similarity_matrix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of every row of ``first [N, E]`` and every row of ``second [M, E]``, float64 [N, M].

    Raises:
        UserError: the arrays are not [N, E] and [M, E].
    """
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise UserError(f"embeddings of shapes {first.shape} and {second.shape}; expected (N, E) and (M, E)")
    return (normalize_rows(first) @ normalize_rows(second).T).clip(-1, 1)


def pair_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return InsightFace's distance of row i of ``first`` and row i of ``second``, float64 [N], 0 to 4.

    This is the squared L2 distance of the normalised rows, computed as such: for close pairs it is more exact than
    2 - 2 cos.

    Raises:
        UserError: the arrays do not have one shape [N, E].
    """
    _check_rows(first, second)
    difference = normalize_rows(first) - normalize_rows(second)
    return np.einsum("ne,ne->n", difference, difference)


def cosine_of_distance(distance: float) -> float:
    """Convert InsightFace's distance (``pair_distances``) into the cosine similarity, 1 - distance / 2."""
    return 1 - distance / 2


def _check_rows(first: np.ndarray, second: np.ndarray) -> None:
    if first.ndim != 2 or first.shape != second.shape:
        raise UserError(f"embeddings of shapes {first.shape} and {second.shape}; expected (N, E) for both")
