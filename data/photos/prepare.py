"""Make the image of one photo, in any of three ways: align its face, scale it, or take it as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.image import DecodeError, ImageSizeError, decode_image, decode_photo, encode_jpeg, image_shape
from data.photos.align import align_face
from data.photos.faces import Detector
from data.photos.photo import BLURRED, NOT_READABLE, TOO_SMALL, Fault, resize_photo, sharpness
from data.photos.upright import find_face
from data.rejected import NOT_DECODABLE, WRONG_SIZE

_LARGEST_FILE = 1 << 28  # bytes; larger ones are videos or disk images, which are not read


@dataclass(frozen=True)
class PhotoRules:
    """What is made of a photo, and which are left out.

    Attributes:
        size: height and width of the images in pixels.
        detector: finds the face to align; None: no alignment.
        resize: scale photos of another size; without it and without a detector they are left out.
        min_size: the least side in pixels, of the detected face, or of a photo that is scaled.
        min_sharpness: the least ``photo.sharpness`` of the image.
    """

    size: int = 112
    detector: Detector | None = None
    resize: bool = False
    min_size: int = 32
    min_sharpness: float = 0.0


class Prepared(NamedTuple):
    """The image of a photo, or why there is none.

    Attributes:
        encoded: the image's bytes; the file's own where nothing was changed, else JPEG.
        sharpness: see ``photo.sharpness``.
        fault: why the photo is left out; None if it is not.
    """

    encoded: bytes
    sharpness: float
    fault: Fault | None


def prepare_photo(path: Path, rules: PhotoRules) -> Prepared:
    """Read a photo and make its image."""
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            return Prepared(b"", 0.0, Fault(NOT_DECODABLE, f"{size} bytes are not a photo"))
        original = path.read_bytes()
    except OSError as error:
        return Prepared(b"", 0.0, Fault(NOT_READABLE, error.strerror or ""))
    made = make_image(original, rules)
    if isinstance(made, Fault):
        return Prepared(b"", 0.0, made)
    image, changed = made
    value = sharpness(image)
    if value < rules.min_sharpness:
        return Prepared(b"", value, Fault(BLURRED, f"sharpness {value:.0f}"))
    return Prepared(encode_jpeg(image) if changed else original, value, None)


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
    face = find_face(photo, detector)
    if isinstance(face, Fault):
        return face
    if face.side < min_face:
        return Fault(TOO_SMALL, f"the face is {face.side:.0f} pixels wide")
    return align_face(photo, face.landmarks, size)


def make_image(original: bytes, rules: PhotoRules) -> tuple[np.ndarray, bool] | Fault:
    """Return the image of a photo's bytes, uint8 [size, size, 3] RGB, and whether it differs from theirs."""
    if rules.detector is not None:
        aligned = align_photo(original, rules.detector, rules.size, rules.min_size)
        return aligned if isinstance(aligned, Fault) else (aligned, True)
    try:
        if not rules.resize:
            return decode_image(original, rules.size), False
        photo = decode_photo(original)
    except ImageSizeError:
        height, width = image_shape(original)
        return Fault(WRONG_SIZE, f"{width}x{height}")
    except DecodeError as error:
        return Fault(NOT_DECODABLE, str(error))
    height, width = photo.shape[:2]
    if min(height, width) < rules.min_size:
        return Fault(TOO_SMALL, f"{width}x{height} pixels")
    if height == width == rules.size:
        return photo, not np.array_equal(photo, decode_image(original, rules.size))  # turned by its Exif data
    return resize_photo(photo, rules.size), True
