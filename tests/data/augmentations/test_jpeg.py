from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from data.augmentations.jpeg import Compression


def test_half_of_the_images_by_every_quality() -> None:
    draws = Compression().draw(1, 0, np.arange(20000))
    assert draws.dtype == np.float32 and draws.shape == (20000, 1)
    chosen = draws[draws > 0]
    assert abs(len(chosen) / 20000 - 0.5) < 0.015  # 4 standard deviations
    qualities, counts = np.unique(chosen, return_counts=True)
    assert qualities.tolist() == list(range(2, 21)) and abs(counts / len(chosen) - 1 / 19).max() < 0.01


@pytest.mark.parametrize("quality", [2, 9, 20])
def test_the_pixels_are_pillows(quality: int) -> None:
    """image_iter.py encodes and decodes with PIL; decoders differ in chroma upsampling."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    image = cv2.GaussianBlur(noise, (0, 0), 4)
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    changed = Compression.apply(image, [quality])
    assert changed.dtype == np.uint8 and changed.shape == image.shape
    np.testing.assert_allclose(changed, np.asarray(Image.open(buffer)).astype(float), atol=3)
    assert not np.array_equal(changed, image)


def test_no_quality_is_no_change() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    assert Compression.apply(image, [0]) is image
