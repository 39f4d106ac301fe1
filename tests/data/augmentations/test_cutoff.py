from __future__ import annotations

import numpy as np
import pytest

from data.augmentations.cutoff import Cutoff

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)


def cut(image: np.ndarray, cutoff: int, row: int, column: int) -> np.ndarray:
    """Pixel by pixel, with the bounds of image_iter.py."""
    expected, half = image.copy(), cutoff // 2
    for y in range(20):
        for x in range(20):
            if max(0, row - half) <= y < min(20, row + half) and max(0, column - half) <= x < min(20, column + half):
                expected[y, x] = 128
    return expected


@pytest.mark.parametrize("size", [2, 7, 8, 40])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (19, 19), (10, 3)])
def test_the_square_is_grey(size: int, row: int, column: int) -> None:
    before = IMAGE.copy()
    changed = Cutoff(size).apply(IMAGE, [1, (row + 0.5) / 20, (column + 0.5) / 20])
    np.testing.assert_array_equal(changed, cut(IMAGE, size, row, column))
    np.testing.assert_array_equal(IMAGE, before)


def test_half_of_the_images_about_every_pixel() -> None:
    draws = Cutoff(8).draw(1, 0, np.arange(20000))
    assert draws.dtype == np.float32
    assert abs(draws[:, 0].mean() - 0.5) < 0.015  # 4 standard deviations
    for column in (1, 2):
        counts = np.bincount((draws[:, column] * 20).astype(int))
        assert len(counts) == 20 and np.abs(counts - 1000).max() < 4 * np.sqrt(1000)
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.03
    assert Cutoff(8).apply(IMAGE, [0, 0.5, 0.5]) is IMAGE
