from __future__ import annotations

import cv2
import mxnet as mx
import numpy as np
import pytest

from data.image import DecodeError, decode_image, encode_jpeg, image_shape


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


def test_trailing_bytes_after_a_jpeg_are_tolerated() -> None:
    encoded = encode_jpeg(smooth_picture(112, 112))
    np.testing.assert_array_equal(decode_image(encoded + b"\0\0odd"), decode_image(encoded))


@pytest.mark.parametrize("encoded", [b"", b"not an image", encode_jpeg(smooth_picture(112, 112))[:100]])
def test_undecodable_bytes(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_image(encoded)


def test_another_size_is_named() -> None:
    with pytest.raises(DecodeError, match="96x112 pixels, expected 112x112"):
        decode_image(encode_jpeg(smooth_picture(112, 96)))
    with pytest.raises(DecodeError, match="expected 112x112"):
        decode_image(encode_jpeg(smooth_picture(224, 112)), resize=True)
