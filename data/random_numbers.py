"""Draw random numbers that depend only on (seed, purpose, epoch, image), not on ranks, workers or read order."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Purpose(IntEnum):
    """The use of a random number. A family that draws several numbers uses the values that follow its own."""

    MIRROR = 1
    SHIFT_X = 2
    SHIFT_Y = 3
    ZOOM = 4
    JPEG = 10
    COLOR = 20
    CUTOFF = 30
    LOW_RES = 40
    PHOTOMETRIC = 50
    WARP = 60
    EXPOSURE = 70
    CROP = 100
    REPLACEMENT = 110


def mix(value: np.ndarray) -> np.ndarray:
    """Apply the finaliser of SplitMix64 (Steele, Lea and Flood 2014): uint64 to well-mixed uint64."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def random_bits(seed: int, purpose: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return random bits, one uint64 per image.

    Args:
        seed: seed of the run.
        purpose: a ``Purpose`` or a value after it; draws with different values are independent.
        epochs: epoch of each image, a scalar or [B].
        indices: number of each image in the dataset, [B].
    """
    state = np.array([seed], np.int64).astype(np.uint64)
    with np.errstate(over="ignore"):  # the hash relies on wrap-around
        for word in (np.uint64(purpose), np.asarray(epochs).astype(np.uint64), np.asarray(indices).astype(np.uint64)):
            state = mix(state * _GOLDEN + word + _GOLDEN)
        return mix(state)


def random_signed(seed: int, purpose: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return float64 [B], uniform in [-1, 1)."""
    return (random_bits(seed, purpose, epochs, indices) >> np.uint64(11)) / 2.0**52 - 1.0


def random_share(seed: int, purpose: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return float64 [B], uniform in [0, 1), with 24 bits, so that float32 does not round it up to 1."""
    return (random_bits(seed, purpose, epochs, indices) >> np.uint64(40)) / 2.0**24
