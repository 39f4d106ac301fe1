"""Brightness, contrast and saturation in random order: InsightFace's ``color`` and AdaFace's photometric changes.

Each of the three is a linear map of an image's pixels: away from black (brightness), from the image's mean luma
(contrast) or from each pixel's own luma (saturation), by a factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar

import cv2
import numpy as np

from data.random_numbers import Purpose, random_share, random_signed

_LUMA = np.array([0.299, 0.587, 0.114, 0])
_NO_COLOR = np.zeros(4)
_CONTRAST, _SATURATION = 1, 2  # 0 is the brightness
_ORDERS = tuple(permutations(range(3)))


def _draw_jitter(
    strength: float, purpose: int, seed: int, epochs: int | np.ndarray, indices: np.ndarray
) -> list[np.ndarray]:
    """Draw the factors of the three maps, in 1 - strength to 1 + strength, and the number of their order: [B] each."""
    factors = [1 + strength * random_signed(seed, purpose + i, epochs, indices) for i in range(3)]
    return [*factors, np.floor(len(_ORDERS) * random_share(seed, purpose + 3, epochs, indices))]


def _adjustment(kind: int, factor: float, mean: np.ndarray) -> np.ndarray:
    """Return one of the three maps, [4, 4], for an image with the mean colour ``mean`` (red, green, blue, 1)."""
    matrix = np.diag([factor, factor, factor, 1.0])
    if kind == _CONTRAST:
        matrix[:3, 3] = (1 - factor) * (_LUMA @ mean)
    elif kind == _SATURATION:
        matrix[:3] += (1 - factor) * _LUMA
    return matrix


def _mean_color(image: np.ndarray) -> np.ndarray:
    return np.array([*cv2.mean(image)[:3], 1.0])


@dataclass(frozen=True)
class ColorJitter:
    """A ``Family``: ``ColorJitterAug(0.125, 0.125, 0.125)`` of MXNet, which image_iter.py applies to every image.

    As in MXNet, nothing is rounded or clipped between the three. The result is, because these batches are uint8.

    Its numbers are the factors of brightness, contrast and saturation, and their order.
    """

    columns: ClassVar[int] = 4
    strength: float = 0.125

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return float32 [B, 4]."""
        return np.stack(_draw_jitter(self.strength, Purpose.COLOR, seed, epochs, indices), axis=1).astype(np.float32)

    @staticmethod
    def apply(image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
        """Apply the product of the three maps."""
        mean, total = _mean_color(image), np.eye(4)
        for kind in _ORDERS[int(draw[3])]:
            total = _adjustment(kind, draw[kind], total @ mean) @ total
        return cv2.transform(image, total[:3])


@dataclass(frozen=True)
class Photometric:
    """A ``Family``: torchvision's ``ColorJitter(0.5, 0.5, 0.5)`` in AdaFace's data.py.

    As in torchvision, the pixels are rounded and clipped after each of the three.

    Its numbers are the factors of brightness, contrast and saturation, and their order (-1: unchanged).

    Attributes:
        probability: of a change.
    """

    columns: ClassVar[int] = 4
    probability: float
    strength: float = 0.5

    def draw(self, seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Return float32 [B, 4]."""
        *factors, order = _draw_jitter(self.strength, Purpose.PHOTOMETRIC, seed, epochs, indices)
        chosen = random_share(seed, Purpose.PHOTOMETRIC + 4, epochs, indices) < self.probability
        return np.stack([*factors, np.where(chosen, order, -1)], axis=1).astype(np.float32)

    @staticmethod
    def apply(image: np.ndarray, draw: Sequence[float]) -> np.ndarray:
        """Apply the three maps one after another."""
        if draw[3] < 0:
            return image
        for kind in _ORDERS[int(draw[3])]:
            mean = _mean_color(image) if kind == _CONTRAST else _NO_COLOR  # the mean takes as long as everything else
            image = cv2.transform(image, _adjustment(kind, draw[kind], mean)[:3])
        return image
