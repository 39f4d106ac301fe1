from __future__ import annotations

import io
import struct
import zlib

import cv2
import mxnet as mx
import numpy as np
import pytest
from PIL import Image

from data.image import DecodeError, decode_image, decode_images, decode_photo, encode_jpeg, image_shape


def smooth_picture(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    return cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def test_jpeg_round_trip_keeps_the_channel_order() -> None:
    picture = np.zeros((112, 112, 3), np.uint8)
    picture[:] = (200, 100, 20)
    decoded = decode_image(encode_jpeg(picture))
    assert decoded.dtype == np.uint8 and decoded.shape == (112, 112, 3)
    assert np.abs(decoded.astype(int) - picture).max() <= 3


def test_decodes_like_mxnet() -> None:
    encoded = encode_jpeg(smooth_picture(112, 112))
    reference = mx.image.imdecode(encoded).asnumpy()
    assert np.abs(decode_image(encoded).astype(int) - reference).max() <= 1


@pytest.mark.parametrize("shape", [(250, 250), (90, 90), (112, 112), (150, 150)])
def test_resizes_like_insightface_load_bin(shape: tuple[int, int]) -> None:
    encoded = encode_jpeg(smooth_picture(*shape))
    reference = mx.image.resize_short(mx.image.imdecode(encoded), 112).asnumpy()
    assert np.abs(decode_image(encoded, 112, resize=True).astype(int) - reference).max() <= 2


def test_png_is_exact() -> None:
    picture = smooth_picture(112, 112)
    encoded = cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode_image(encoded), picture)
    assert image_shape(encoded) == (112, 112)


@pytest.mark.parametrize("extension", [".bmp", ".webp", ".tiff", ".png", ".jp2", ".ppm"])
def test_other_formats_come_as_rgb(extension: str) -> None:
    picture = smooth_picture(112, 112)
    parameters = [cv2.IMWRITE_WEBP_QUALITY, 101] if extension == ".webp" else []  # lossless
    encoded = cv2.imencode(extension, picture[:, :, ::-1], parameters)[1].tobytes()
    tolerance = 40 if extension == ".jp2" else 0  # lossy, but red stays red
    assert np.abs(decode_image(encoded).astype(int) - picture).max() <= tolerance


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_pictures_get_three_channels(channels: int) -> None:
    picture = smooth_picture(112, 112)
    stored = picture[:, :, :1] if channels == 1 else np.dstack([picture[:, :, ::-1], np.full((112, 112), 9, np.uint8)])
    decoded = decode_image(cv2.imencode(".png", stored)[1].tobytes())
    np.testing.assert_array_equal(decoded, np.repeat(stored, 3, axis=2) if channels == 1 else picture)


PICTURE_JPEG = encode_jpeg(smooth_picture(112, 112))
MIDDLE = len(PICTURE_JPEG) // 2


@pytest.mark.parametrize(
    "encoded",
    [
        PICTURE_JPEG[:MIDDLE] + b"\xff\x00" * 4 + PICTURE_JPEG[MIDDLE + 8 :],
        PICTURE_JPEG[:-2] + bytes(7) + PICTURE_JPEG[-2:],
        PICTURE_JPEG[:-2] + b"\xff\xd0" + PICTURE_JPEG[-2:],
    ],
    ids=["wrong bits", "stray bytes", "stray marker"],
)
def test_slightly_broken_jpegs_decode_like_mxnet(encoded: bytes) -> None:
    reference = mx.image.imdecode(encoded).asnumpy()
    assert np.abs(decode_image(encoded).astype(int) - reference).max() <= 1


@pytest.mark.parametrize(("length", "good_rows"), [(len(PICTURE_JPEG) - 2, 112), (MIDDLE, 24), (MIDDLE + 1, 24)])
def test_jpegs_that_are_cut_off_decode_as_far_as_they_go(length: int, good_rows: int) -> None:
    encoded = PICTURE_JPEG[:length]
    assert mx.image.imdecode(encoded).shape == (112, 112, 3)  # training with MXNet included these
    np.testing.assert_array_equal(decode_image(encoded)[:good_rows], decode_image(PICTURE_JPEG)[:good_rows])


def test_trailing_bytes_after_a_jpeg_are_tolerated() -> None:
    encoded = encode_jpeg(smooth_picture(112, 112))
    np.testing.assert_array_equal(decode_image(encoded + b"\0\0odd"), decode_image(encoded))


@pytest.mark.parametrize("encoded", [b"", b"not an image", encode_jpeg(smooth_picture(112, 112))[:100]])
def test_undecodable_bytes(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_image(encoded)


def test_what_cannot_be_decoded_is_named_where_it_is_known() -> None:
    wide = struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + b"IHDR" + wide + struct.pack(">I", zlib.crc32(b"IHDR" + wide))
    pixels = zlib.compress(bytes(99))
    data = struct.pack(">I", len(pixels)) + b"IDAT" + pixels + struct.pack(">I", zlib.crc32(b"IDAT" + pixels))
    for encoded, message in (
        (b"\0\0\0\x18ftypheic" + bytes(50), r"^62 bytes .*: a photo in the HEIC or AVIF format; convert it to JPEG$"),
        (b"\0\0\0\x18ftypisom" + bytes(50), "^62 bytes that cannot be decoded as an image: a video$"),
        (b"\x89PNG\r\n\x1a\n" + header + data, "decoded as an image .*PIXELS"),
    ):
        with pytest.raises(DecodeError, match=message):
            decode_photo(encoded)


def test_another_size_is_named() -> None:
    with pytest.raises(DecodeError, match="96x112 pixels, expected 112x112"):
        decode_image(encode_jpeg(smooth_picture(112, 96)))
    with pytest.raises(DecodeError, match="112x224 pixels, expected a square, which is scaled to 112x112"):
        decode_image(encode_jpeg(smooth_picture(224, 112)), resize=True)


def save(mode: str = "RGB", kind: str = "JPEG", turned: bool = False, **options: object) -> bytes:
    """Return a picture as PIL writes it; ``turned`` asks for a quarter turn by Exif."""
    noise = np.random.default_rng(1).integers(0, 60, (112, 112, 3))
    picture = Image.fromarray((smooth_picture(112, 112) // 2 + noise).astype(np.uint8)).convert(mode)
    if turned:
        options["exif"] = picture.getexif()
        options["exif"][0x0112] = 6
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


SOUND = {
    "quality 95": save(quality=95),
    "quality 5": save(quality=5),
    "4:4:4": save(subsampling=0),
    "4:2:2": save(subsampling=1),
    "4:2:0": save(subsampling=2, quality=90),
    "progressive": save(progressive=True),
    "own tables": save(optimize=True),
    "restarts": save(restart_marker_rows=1),
    "grey": save("L"),
    "four inks": save("CMYK"),
    "comment": save(comment=b"a face"),
    "to be turned": save(turned=True),
    "OpenCV's": PICTURE_JPEG,
    "more bytes behind": PICTURE_JPEG + b"\0\0odd",
}
OTHERS = {
    "PNG": save(kind="PNG"),
    "wrong bits": PICTURE_JPEG[:MIDDLE] + b"\xff\x00" * 4 + PICTURE_JPEG[MIDDLE + 8 :],
    "stray bytes": PICTURE_JPEG[:-2] + bytes(7) + PICTURE_JPEG[-2:],
    "no end": PICTURE_JPEG[:-2],
    "half": PICTURE_JPEG[:MIDDLE],
}


@pytest.mark.parametrize("name", [*SOUND, *OTHERS])
def test_many_at_once_are_decoded_like_one(name: str) -> None:
    encoded = {**SOUND, **OTHERS}[name]
    before, place, behind = places = list(np.zeros((3, 112, 112, 3), np.uint8))
    first, image, last = decode_images([PICTURE_JPEG, encoded, PICTURE_JPEG], 112, places)
    assert (image is place) == (name in SOUND)
    np.testing.assert_array_equal(image, decode_image(encoded))
    for found, neighbour in ((first, before), (last, behind)):
        assert found is neighbour
        np.testing.assert_array_equal(found, decode_image(PICTURE_JPEG))


def test_exif_turns_no_image_just_as_with_mxnet() -> None:
    encoded = save(turned=True)
    assert np.abs(decode_image(encoded).astype(int) - mx.image.imdecode(encoded).asnumpy()).max() <= 1
    np.testing.assert_array_equal(decode_image(encoded), decode_image(save()))


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"", "the image is empty"),
        (b"\xff\xd8 broken", "cannot be decoded"),
        (encode_jpeg(smooth_picture(96, 112)), "the image is 112x96 pixels, expected 112x112"),
        (encode_jpeg(smooth_picture(224, 112)), "the image is 112x224 pixels, expected 112x112"),
    ],
)
def test_the_bad_one_of_many_is_counted(encoded: bytes, message: str) -> None:
    places = list(np.zeros((3, 112, 112, 3), np.uint8))
    with pytest.raises(DecodeError, match=message) as error:
        decode_images([PICTURE_JPEG, PICTURE_JPEG, encoded], 112, places)
    assert error.value.index == 2
