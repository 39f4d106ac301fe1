"""Faces that a detector found in a photo, and the choice of one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from data.photos.photo import EQUAL_FACES, NO_FACE, Fault


class Face(NamedTuple):
    """A detected face, in pixels of the image.

    Attributes:
        box: left, top, right, bottom.
        score: the detector's confidence, 0 to 1.
        landmarks: float32 [5, 2], in the order of ``TEMPLATE``.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: np.ndarray

    @property
    def side(self) -> float:
        """The shorter side of the box."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def area(self) -> float:
        """The area of the box."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


Detector = Callable[[np.ndarray], Sequence[Face]]
"""Takes uint8 RGB [H, W, 3], returns the faces in it."""


def choose_face(faces: Sequence[Face], shape: tuple[int, int]) -> Face | Fault:
    """Return the face with the largest area minus twice the squared distance of its centre from the photo's centre.

    Args:
        faces: all faces of the photo.
        shape: its height and width.

    Returns:
        The face, or a fault: there is none, or another one comes close, in area (half of it or more) and in this value
        (less by not even half of the area).
    """
    if not faces:
        return Fault(NO_FACE)
    values = []
    for face in faces:
        left, top, right, bottom = face.box
        distance = ((left + right) / 2 - shape[1] / 2) ** 2 + ((top + bottom) / 2 - shape[0] / 2) ** 2
        values.append(face.area - 2 * distance)
    best = int(np.argmax(values))
    close = faces[best].area / 2
    equal = sum(face.area >= close and values[best] - value < close for face, value in zip(faces, values, strict=True))
    return faces[best] if equal == 1 else Fault(EQUAL_FACES, f"{equal} of {len(faces)} faces")
