"""Find the face of a photo and its landmarks also where the head is tilted.

MTCNN was trained on upright faces: it misses some that are turned by more than 30 degrees, and places the landmarks of
others as if they were upright. So a photo without a face is searched again turned to both sides, and the landmarks of a
tilted face are searched again in a copy in which it is upright.
"""

from __future__ import annotations

import cv2
import numpy as np

from data.photos.align import similarity_transform, template
from data.photos.faces import Detector, Face, choose_face
from data.photos.photo import NO_FACE, Fault

_TURNS = (-35.0, 35.0)
_UPRIGHT = 8.0  # degrees
_TEMPLATE_SIZE, _CROP_SIZE = 112, 240


def find_face(photo: np.ndarray, detector: Detector) -> Face | Fault:
    """Return the chosen face of a photo.

    Args:
        photo: uint8 [H, W, 3] RGB.
        detector: see ``detectors.open_detector``.

    Returns:
        The face, or the fault if there is none or the choice between several is not clear.
    """
    found = choose_face(detector(photo), photo.shape[:2])
    if found == Fault(NO_FACE):
        found = _find_in_turned(photo, detector)
    return found if isinstance(found, Fault) else _set_upright(photo, found, detector)


def _find_in_turned(photo: np.ndarray, detector: Detector) -> Face | Fault:
    """Search the photo turned about its centre, on a canvas that holds all of it."""
    found: Face | Fault = Fault(NO_FACE)
    height, width = photo.shape[:2]
    for angle in _TURNS:
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
        new_width, new_height = np.ceil(np.abs(turn[:, :2]) @ (width, height)).astype(int).tolist()
        turn[:, 2] += ((new_width - width) / 2, (new_height - height) / 2)
        found = choose_face(detector(cv2.warpAffine(photo, turn, (new_width, new_height))), (new_height, new_width))
        if isinstance(found, Face):
            landmarks = _move(found.landmarks, cv2.invertAffineTransform(turn))
            middle, half = landmarks.mean(axis=0), np.subtract(found.box[2:], found.box[:2]) / 2
            return Face((*(middle - half).tolist(), *(middle + half).tolist()), found.score, landmarks)
    return found


def _set_upright(photo: np.ndarray, face: Face, detector: Detector) -> Face:
    """Return the face with landmarks that were found while it was upright, if it is tilted in the photo."""
    to_crop = similarity_transform(face.landmarks, template(_TEMPLATE_SIZE))
    if abs(np.rad2deg(np.arctan2(to_crop[1, 0], to_crop[0, 0]))) < _UPRIGHT:
        return face
    to_crop[:, 2] += (_CROP_SIZE - _TEMPLATE_SIZE) / 2
    crop = cv2.warpAffine(photo, to_crop, (_CROP_SIZE, _CROP_SIZE))
    again = choose_face(detector(crop), crop.shape[:2])
    if isinstance(again, Fault):
        return face
    return face._replace(landmarks=_move(again.landmarks, cv2.invertAffineTransform(to_crop)))


def _move(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Return the points, float32 [N, 2], under an affine transform [2, 3]."""
    return (points @ transform[:, :2].T + transform[:, 2]).astype(np.float32)
