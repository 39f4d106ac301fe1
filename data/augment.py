"""Augmentation that depends only on (seed, epoch, image), never on ranks, workers or the order of reading."""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(value: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): uint64 to well-mixed uint64."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def random_bits(seed: int, purpose: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return uint64 random bits, one value for each image.

    Args:
        seed: seed of the run.
        purpose: a number of its own for each augmentation, so that they are independent of one another.
        epochs: epoch of each image, a scalar or [B].
        indices: number of each image in the dataset, [B].
    """
    state = np.array([seed], np.int64).astype(np.uint64)
    with np.errstate(over="ignore"):  # wrapping around is what the hash wants
        for word in (np.uint64(purpose), np.asarray(epochs).astype(np.uint64), np.asarray(indices).astype(np.uint64)):
            state = _mix(state * _GOLDEN + word + _GOLDEN)
        return _mix(state)


def mirror_flags(seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return bool [B]: which images to mirror left to right, each with probability one half."""
    return random_bits(seed, 1, epochs, indices) >> np.uint64(63) == 1
