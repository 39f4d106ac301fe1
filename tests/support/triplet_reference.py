"""The triplet losses in float64 numpy, with their gradients by the chain rule, and embeddings to try them on."""

from __future__ import annotations

import numpy as np

EMB_SIZE, TRIPLETS = 16, 8
SEEDS = (1, 2)
SAME = 6  # the triplet of one image three times
ALPHAS = {"triplet": 0.3, "atriplet": 0.35}


def draw_embeddings(seed: int) -> np.ndarray:
    """Return [3 * TRIPLETS, E], triplet after triplet: with and without a loss, and with all three images the same."""
    rng = np.random.default_rng(seed)
    faces = rng.normal(0, 1, (TRIPLETS, 3, EMB_SIZE))
    faces[1:4, 1] = faces[1:4, 0] + rng.normal(0, 0.2, (3, EMB_SIZE))  # near positives
    faces[4:6, 2] = faces[4:6, 0] + rng.normal(0, 0.2, (2, EMB_SIZE))  # near negatives
    faces[SAME] = faces[SAME, :1] * 3
    return (faces * rng.uniform(0.5, 20, (TRIPLETS, 3, 1))).reshape(-1, EMB_SIZE).astype(np.float32)


def compute_triplets(name: str, embeddings: np.ndarray) -> tuple[float, int, np.ndarray]:
    """Return the mean loss, how many images are of triplets with the negative farther off, and the gradient."""
    x = embeddings.astype(np.float64).reshape(-1, 3, embeddings.shape[1])
    norm = np.linalg.norm(x, axis=2, keepdims=True)
    unit = x / norm
    positive, negative = (_distance(name, unit[:, 0], unit[:, i]) for i in (1, 2))
    excess = positive[0] - negative[0] + ALPHAS[name]
    share = (excess > 0) / len(x)
    d_unit = np.stack([positive[1] - negative[1], positive[2], -negative[2]], axis=1) * share[:, None, None]
    d_x = (d_unit - unit * (d_unit * unit).sum(axis=2, keepdims=True)) / norm
    correct = 3 * int((negative[0] > positive[0]).sum())
    return float(np.maximum(excess, 0).mean()), correct, d_x.reshape(embeddings.shape)


def _distance(name: str, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distances of unit vectors, and the gradients by both; equal ones have none."""
    if name == "triplet":
        return ((a - b) ** 2).sum(axis=1), 2 * (a - b), 2 * (b - a)
    cosine = (a * b).sum(axis=1)
    same = cosine > 1 - 1e-7
    slope = np.where(same, 0, -1 / np.sqrt(np.where(same, 1, 1 - cosine**2)))[:, None]
    return np.arccos(np.clip(cosine, -1, 1)), slope * b, slope * a
