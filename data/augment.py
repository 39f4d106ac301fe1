"""Augmentation that depends only on (seed, epoch, image), never on ranks, workers or the order of reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
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


def _uniform(seed: int, purpose: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Return float64 [B], uniform in [-1, 1)."""
    return (random_bits(seed, purpose, epochs, indices) >> np.uint64(11)) / 2.0**52 - 1.0


@dataclass(frozen=True)
class Augmentation:
    """What is done to the training images, drawn anew for each image and epoch.

    Attributes:
        mirror: mirror left to right with probability one half.
        shift: move by up to so many pixels in each direction, edges repeated.
        zoom: enlarge or shrink about the centre by up to this share (0.1: 0.9 to 1.1 times).
    """

    mirror: bool = True
    shift: float = 0.0
    zoom: float = 0.0

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return float32 [B, 4]: for each image: mirror it (0 or 1), the shift in x and y, the zoom factor."""
        draws = np.zeros((len(indices), 4), np.float32)
        if self.mirror:
            draws[:, 0] = random_bits(seed, 1, epochs, indices) >> np.uint64(63)
        if self.shift:
            draws[:, 1] = self.shift * _uniform(seed, 2, epochs, indices)
            draws[:, 2] = self.shift * _uniform(seed, 3, epochs, indices)
        draws[:, 3] = 1.0 + self.zoom * _uniform(seed, 4, epochs, indices) if self.zoom else 1.0
        return draws


def augment_image(image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
    """Return uint8 [S, S, 3], ``image`` changed as one row of ``Augmentation.draw`` (as a list) says."""
    mirror, dx, dy, zoom = draw
    if mirror:
        image = cv2.flip(image, 1)
    if dx == 0 == dy and zoom == 1:
        return image
    centre = (image.shape[0] - 1) / 2
    offset = centre * (1 - zoom)
    matrix = np.array([[zoom, 0, offset + dx], [0, zoom, offset + dy]])
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(np.ascontiguousarray(image), matrix, size, borderMode=cv2.BORDER_REPLICATE)
