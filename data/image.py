"""Decode images to RGB arrays, and encode them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import simplejpeg

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
# MXNet ignores the orientation in the Exif header.
_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_RGB_UPRIGHT = cv2.IMREAD_COLOR_RGB


class DecodeError(ValueError):
    """The bytes are not an image, or the image has the wrong size.

    Attributes:
        index: position of the bad image among those decoded together.
    """

    index = 0


class ImageSizeError(DecodeError):
    """The image can be decoded, but has another size than required."""


def decode_image(encoded: bytes, size: int = 112, resize: bool = False) -> np.ndarray:
    """Decode a JPEG, PNG or other still image. Slightly broken JPEGs are accepted, as by MXNet.

    Args:
        encoded: the file's bytes.
        size: required height and width in pixels.
        resize: scale an image of another size so that its short side is ``size`` (bicubic), as ``load_bin`` of
            InsightFace does for verification sets; without it, another size is an error.

    Returns:
        uint8 array [size, size, 3], RGB.

    Raises:
        DecodeError: the bytes cannot be decoded.
        ImageSizeError: the image (scaled if ``resize``) is not ``size`` x ``size``; the message has its true size.
    """
    image = _decode(encoded)
    height, width = image.shape[:2]
    if resize and min(height, width) != size:
        image = _resize_short_side(image, size)
    if image.shape != (size, size, 3):
        expected = f"a square, which is scaled to {size}x{size}" if resize else f"{size}x{size}"
        raise ImageSizeError(f"the image is {width}x{height} pixels, expected {expected}")
    return image


def decode_images(encoded: Sequence[bytes], size: int, places: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Decode many images to the same pixels as ``decode_image``, in less time.

    Intact JPEGs, the content of training sets, are decoded by simplejpeg, which is faster than OpenCV and writes
    directly into the given memory. OpenCV decodes the others.

    Args:
        encoded: the files' bytes.
        size: required height and width in pixels.
        places: memory for the images, uint8 [size, size, 3] each.

    Returns:
        uint8 arrays [size, size, 3], RGB: each its place, or new memory.

    Raises:
        DecodeError: the bytes cannot be decoded, or an image is not ``size`` x ``size``; ``index`` says which.
    """
    images: list[np.ndarray] = []
    shape, decode_jpeg = (size, size, 3), simplejpeg.decode_jpeg
    for data, place in zip(encoded, places, strict=True):
        if data.startswith(_JPEG_START):
            try:
                if decode_jpeg(data, buffer=place).shape == shape:
                    images.append(place)
                    continue
            except ValueError:
                pass
        try:
            images.append(decode_image(data, size))
        except DecodeError as error:
            error.index = len(images)
            raise
    return images


def decode_photo(encoded: bytes) -> np.ndarray:
    """Decode a photograph of any size and turn it upright as its Exif data say: uint8 [H, W, 3], RGB.

    Raises:
        DecodeError: the bytes cannot be decoded.
    """
    return _decode(encoded, _RGB_UPRIGHT)


def image_shape(encoded: bytes) -> tuple[int, int]:
    """Return (height, width) of an encoded image.

    Raises:
        DecodeError: the bytes cannot be decoded.
    """
    return _decode(encoded).shape[:2]


def decode_any_size(encoded: bytes) -> tuple[np.ndarray, bool]:
    """Decode an image of any size, and tell whether it is intact: False for a JPEG that is decoded only in part.

    Returns:
        uint8 [H, W, 3], RGB, the same pixels as ``decode_image``; and the answer.

    Raises:
        DecodeError: the bytes cannot be decoded.
    """
    if encoded.startswith(_JPEG_START):
        try:
            return simplejpeg.decode_jpeg(encoded), True
        except ValueError as error:
            return _decode(encoded), "Unsupported" in str(error)
    return _decode(encoded), True


def encode_jpeg(rgb: np.ndarray, quality: int = 95) -> bytes:
    """Encode a uint8 RGB array [H, W, 3] as JPEG."""
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"an array of shape {rgb.shape} and type {rgb.dtype} cannot be encoded as JPEG")
    return encoded.tobytes()


def _decode(encoded: bytes, flags: int = _RGB) -> np.ndarray:
    """Return uint8 [H, W, 3], RGB."""
    if not encoded:
        raise DecodeError("the image is empty (0 bytes)")
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        if image is None and encoded.startswith(_JPEG_START):
            # Some sets hold truncated JPEGs. MXNet's older OpenCV accepts them; the newer one requires the end marker.
            image = cv2.imdecode(np.frombuffer(encoded + _JPEG_END, np.uint8), flags)
    except cv2.error as error:  # it has too many pixels
        raise DecodeError(f"{len(encoded)} bytes that cannot be decoded as an image ({error.err})") from error
    if image is None:
        raise DecodeError(f"{len(encoded)} bytes that cannot be decoded as an image{_hint(encoded)}")
    return image


def _hint(encoded: bytes) -> str:
    """Return what the bytes are instead, for the end of a message, for formats that cameras of phones write."""
    if encoded[4:8] != b"ftyp":
        return ""
    if encoded[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif"):
        return ": a photo in the HEIC or AVIF format; convert it to JPEG"
    return ": a video"


def _resize_short_side(image: np.ndarray, size: int) -> np.ndarray:
    height, width = image.shape[:2]
    # The long side is rounded down, as mx.image.resize_short does.
    new_width, new_height = (size, size * height // width) if width < height else (size * width // height, size)
    return cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_CUBIC)
