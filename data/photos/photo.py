"""What can be told of a photo without looking for a face: why it is left out, its sharpness, and scaling it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

NOT_READABLE, TOO_SMALL, BLURRED = "not readable", "too small", "blurred"
NO_FACE, EQUAL_FACES = "no face", "several equal faces"


class Fault(NamedTuple):
    """Why a photo gives no image: the kind, and details such as a size."""

    reason: str
    details: str = ""


def resize_photo(photo: np.ndarray, size: int) -> np.ndarray:
    """Scale the shorter side to ``size`` and cut the longer one equally at both ends: uint8 [size, size, 3]."""
    height, width = photo.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = photo[top : top + side, left : left + side]
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)


def sharpness(image: np.ndarray) -> float:
    """Return the variance of the Laplacian of an image's grey values: small for blurred images."""
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())
