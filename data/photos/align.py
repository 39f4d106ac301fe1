"""Align a face to ArcFace's template by five landmarks."""

from __future__ import annotations

import cv2
import numpy as np

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Where the landmarks lie in an aligned image of 112x112 pixels: x and y of the left eye, the right eye, the nose, and
the left and right corner of the mouth; left and right as seen in the image."""


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
