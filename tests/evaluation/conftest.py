"""Verification sets that the evaluation tests share."""

from __future__ import annotations

import numpy as np
import pytest


def make_pairs(pairs: int, size: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return plain and mirrored float32 embeddings [2N,E] and labels [N]; more noise makes the set harder."""
    rng = np.random.default_rng(seed)
    issame = rng.permutation(np.arange(pairs) % 2 == 0)
    first = rng.normal(size=(pairs, size))
    second = np.where(issame[:, None], first, rng.normal(size=(pairs, size)))
    clean = np.stack([first, second], axis=1).reshape(2 * pairs, size)
    plain, flipped = (3 * (clean + noise * rng.normal(size=clean.shape)) for _ in range(2))
    return plain.astype(np.float32), flipped.astype(np.float32), issame


@pytest.fixture
def hard_set() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Plain, mirrored and labels of 300 pairs that no threshold separates."""
    return make_pairs(300, 16, 1.2, seed=7)


@pytest.fixture
def large_set() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As many pairs as LFW has, 6000."""
    return make_pairs(6000, 128, 1.0, seed=1)
