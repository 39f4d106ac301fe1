"""Encoded images to RGB arrays and back."""

from __future__ import annotations

import cv2
import numpy as np

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


class DecodeError(ValueError):
    """The bytes are no image, or an image of another size than the caller can use."""


def decode_image(encoded: bytes, size: int = 112, resize: bool = False) -> np.ndarray:
    """Decode a JPEG, PNG or other still image. Slightly broken JPEGs are taken, as MXNet takes them.

    Args:
        encoded: the file's bytes.
        size: height and width wanted, in pixels.
        resize: scale an image of another size so that its short side is ``size`` (bicubic), as ``load_bin`` of
            InsightFace does for verification sets; otherwise another size is an error.

    Returns:
        uint8 array [size, size, 3], RGB.

    Raises:
        DecodeError: undecodable bytes, or not ``size`` x ``size`` (after scaling, if asked for).
    """
    image = _decode(encoded)
    if resize and min(image.shape[:2]) != size:
        image = _resize_short_side(image, size)
    if image.shape != (size, size, 3):
        height, width = image.shape[:2]
        raise DecodeError(f"the image is {width}x{height} pixels, expected {size}x{size}")
    return image


def image_shape(encoded: bytes) -> tuple[int, int]:
    """Return (height, width) of an encoded image.

    Raises:
        DecodeError: undecodable bytes.
    """
    return _decode(encoded).shape[:2]


def encode_jpeg(rgb: np.ndarray, quality: int = 95) -> bytes:
    """Encode a uint8 RGB array [H, W, 3] as JPEG."""
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"an array of shape {rgb.shape} and type {rgb.dtype} cannot be encoded as JPEG")
    return encoded.tobytes()


def _decode(encoded: bytes) -> np.ndarray:
    """Return uint8 [H, W, 3], RGB."""
    if not encoded:
        raise DecodeError("the image is empty (0 bytes)")
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None and encoded.startswith(_JPEG_START):
        # Some sets hold JPEGs that are cut off. MXNet's older OpenCV takes them; the newer one wants them to end.
        image = cv2.imdecode(np.frombuffer(encoded + _JPEG_END, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise DecodeError(f"{len(encoded)} bytes that cannot be decoded as an image")
    return image


def _resize_short_side(image: np.ndarray, size: int) -> np.ndarray:
    height, width = image.shape[:2]
    # The long side is rounded down, as mx.image.resize_short does.
    new_width, new_height = (size, size * height // width) if width < height else (size * width // height, size)
    return cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_CUBIC)
