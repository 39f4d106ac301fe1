"""Choose the face of a photo and align it to ArcFace's template by five landmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from data.image import DecodeError, decode_photo
from data.photos.photo import EQUAL_FACES, NO_FACE, TOO_SMALL, Fault
from data.rejected import NOT_DECODABLE

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Where the landmarks lie in an aligned image of 112x112 pixels: x and y of the left eye, the right eye, the nose, and
the left and right corner of the mouth; left and right as seen in the image."""

_EQUAL_SHARE = 0.2


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


Detector = Callable[[np.ndarray], Sequence[Face]]
"""Takes uint8 RGB [H, W, 3], returns the faces in it."""


def align_photo(encoded: bytes, detector: Detector, size: int = 112, min_face: float = 0) -> np.ndarray | Fault:
    """Return the aligned face of a photo.

    Args:
        encoded: the file's bytes. Exif's orientation is applied.
        detector: see ``detectors.open_detector``.
        size: height and width of the result in pixels.
        min_face: the least side of the face's box in pixels of the photo.

    Returns:
        uint8 [size, size, 3] RGB, or the fault.
    """
    try:
        photo = decode_photo(encoded)
    except DecodeError as error:
        return Fault(NOT_DECODABLE, str(error))
    face = choose_face(detector(photo), photo.shape[:2])
    if isinstance(face, Fault):
        return face
    if face.side < min_face:
        return Fault(TOO_SMALL, f"the face is {face.side:.0f} pixels wide")
    return align_face(photo, face.landmarks, size)


def choose_face(faces: Sequence[Face], shape: tuple[int, int]) -> Face | Fault:
    """Return the face with the largest area minus twice the squared distance of its centre from the photo's centre.

    Args:
        faces: all faces of the photo.
        shape: its height and width.

    Returns:
        The face, or a fault if there is none, or if the value of another face is less by not even a fifth of the
        chosen one's area.
    """
    if not faces:
        return Fault(NO_FACE)
    values = []
    for face in faces:
        left, top, right, bottom = face.box
        distance = ((left + right) / 2 - shape[1] / 2) ** 2 + ((top + bottom) / 2 - shape[0] / 2) ** 2
        values.append((right - left) * (bottom - top) - 2 * distance)
    best = int(np.argmax(values))
    left, top, right, bottom = faces[best].box
    limit = values[best] - _EQUAL_SHARE * (right - left) * (bottom - top)
    equal = sum(value > limit for value in values)
    return faces[best] if equal == 1 else Fault(EQUAL_FACES, f"{equal} of {len(faces)} faces")


def align_face(image: np.ndarray, landmarks: np.ndarray, size: int = 112) -> np.ndarray:
    """Return the aligned face, the pixels of ``insightface.utils.face_align.norm_crop``.

    Args:
        image: uint8 [H, W, 3].
        landmarks: [5, 2], in the order of ``TEMPLATE``.
        size: height and width of the result in pixels.

    Returns:
        uint8 [size, size, 3], black where the image ends.
    """
    transform = similarity_transform(np.asarray(landmarks, np.float32), template(size))
    return cv2.warpAffine(image, transform, (size, size), borderValue=0.0)


def template(size: int) -> np.ndarray:
    """Return the template for images of ``size`` pixels, as InsightFace does: multiples of 128 get a wider margin."""
    if size % 112 and size % 128 == 0:
        return TEMPLATE * np.float32(size / 128) + np.float32([8 * size / 128, 0])
    return TEMPLATE * np.float32(size / 112)


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the least-squares rotation, scale and translation (Umeyama, 1991) of points onto others, float64 [2, 3].

    Args:
        source: [N, 2].
        target: [N, 2]; the points do not all coincide.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - source_mean
    u, s, v = np.linalg.svd((target - target_mean).T @ centred / len(source))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])  # a rotation, not a reflection
    scale = 1.0 / centred.var(axis=0).sum() * (s @ signs)
    rotation = u @ np.diag(signs) @ v
    shift = target_mean - scale * (rotation @ source_mean)
    return np.column_stack([rotation * scale, shift])
