"""Random numbers that depend only on (seed, purpose, epoch, image), never on ranks, workers or the order of reading."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Purpose(IntEnum):
    """What a number is drawn for. A family of changes that draws several takes the numbers that follow its own."""

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


def mix(value: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): uint64 to well-mixed uint64."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def random_bits(seed: int, purpose: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return uint64 random bits, one value for each image.

    Args:
        seed: seed of the run.
        purpose: a ``Purpose``, or one that follows it, so that all draws are independent of one another.
        epochs: epoch of each image, a scalar or [B].
        indices: number of each image in the dataset, [B].
    """
    state = np.array([seed], np.int64).astype(np.uint64)
    with np.errstate(over="ignore"):  # wrapping around is what the hash wants
        for word in (np.uint64(purpose), np.asarray(epochs).astype(np.uint64), np.asarray(indices).astype(np.uint64)):
            state = mix(state * _GOLDEN + word + _GOLDEN)
        return mix(state)


def random_signed(seed: int, purpose: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return float64 [B], uniform in [-1, 1)."""
    return (random_bits(seed, purpose, epochs, indices) >> np.uint64(11)) / 2.0**52 - 1.0


def random_share(seed: int, purpose: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return float64 [B], uniform in [0, 1), of 24 bits: float32 holds it without rounding it up to 1."""
    return (random_bits(seed, purpose, epochs, indices) >> np.uint64(40)) / 2.0**24
