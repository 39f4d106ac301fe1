"""Noisy images of MegaFace, treated as InsightFace's script treats them.

A noisy FaceScrub image gets the sum of its person's clean features, plus uniform noise of up to 0.001, normalised: it
is near its person. A noisy distractor gets one more number, 100, where all others have 0: it is far from everybody.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.errors import UserError, shorten

AMPLITUDE, FAR_AWAY = 0.001, 100.0


def replace_noisy_probes(rows: np.ndarray, people: Sequence[str], noisy: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return rows [N, E], float32, with those of noisy images replaced.

    Args:
        rows: features, float32 [N, E], normalised.
        people: the person of each.
        noisy: bool [N].
        seed: of the noise.

    Raises:
        UserError: a person with a noisy image has no clean one.
    """
    cleaned = rows.copy()
    rng = np.random.default_rng(seed)
    numbers = np.unique(np.asarray(people), return_inverse=True)[1]
    problems = []
    for row in np.flatnonzero(noisy):
        clean = (numbers == numbers[row]) & ~noisy
        if not clean.any():
            problems.append(f"all images of {people[row]} are in the list of noisy images")
            continue
        changed = rows[clean].sum(axis=0) + rng.uniform(-AMPLITUDE, AMPLITUDE, rows.shape[1])
        cleaned[row] = changed / np.linalg.norm(changed)
    if problems:
        raise UserError(*shorten(list(dict.fromkeys(problems)), "people", 5))
    return cleaned


def extended(row: np.ndarray, is_noisy_distractor: bool) -> np.ndarray:
    """Return the numbers [E + 1] that the development kit gets for an image."""
    return np.append(row, np.float32(FAR_AWAY if is_noisy_distractor else 0))
