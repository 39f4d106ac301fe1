from __future__ import annotations

import numpy as np
import pytest

from data.augmentations.low_resolution import LowResolution

NEAREST, LINEAR, AREA, CUBIC, LANCZOS = range(5)
IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def test_draws() -> None:
    draws = LowResolution(0.25).draw(1, 0, np.arange(20000))
    chosen = draws[draws[:, 0] > 0]
    assert draws.dtype == np.float32
    assert abs(len(chosen) / len(draws) - 0.25) < 0.013  # 4 standard deviations
    np.testing.assert_allclose([chosen[:, 0].min(), chosen[:, 0].max()], [0.2, 1], atol=0.001)
    for column in (1, 2):
        kinds, counts = np.unique(chosen[:, column], return_counts=True)
        assert kinds.tolist() == [0, 1, 2, 3, 4] and abs(counts / len(chosen) - 0.2).max() < 0.025
    assert np.abs(np.corrcoef(chosen.T) - np.eye(3)).max() < 0.05


@pytest.mark.parametrize("share", [0.3, 0.5, 0.99])
def test_nearest_pixels(share: float) -> None:
    side = int(share * 16)
    small = np.arange(side) * 16 // side
    back = np.arange(16) * side // 16
    expected = IMAGE[small][:, small][back][:, back]
    np.testing.assert_array_equal(LowResolution.apply(IMAGE, [share, NEAREST, NEAREST]), expected)


def test_means_of_areas() -> None:
    means = IMAGE.reshape(8, 2, 8, 2, 3).mean(axis=(1, 3)).repeat(2, axis=0).repeat(2, axis=1)
    changed = LowResolution.apply(IMAGE, [0.5, AREA, NEAREST])
    np.testing.assert_allclose(changed, means, atol=0.51)


def test_linear_interpolation() -> None:
    small = IMAGE[::2, ::2].astype(float)
    place = np.clip((np.arange(16) + 0.5) / 2 - 0.5, 0, 7)
    low = np.minimum(place.astype(int), 6)
    share = place - low
    rows = small[low] * (1 - share)[:, None, None] + small[low + 1] * share[:, None, None]
    expected = rows[:, low] * (1 - share)[None, :, None] + rows[:, low + 1] * share[None, :, None]
    np.testing.assert_allclose(LowResolution.apply(IMAGE, [0.5, NEAREST, LINEAR]), expected, atol=1)


@pytest.mark.parametrize("kind", [CUBIC, LANCZOS])
def test_smooth_interpolations_keep_a_plain_image(kind: int) -> None:
    plain = np.full((16, 16, 3), 77, np.uint8)
    np.testing.assert_array_equal(LowResolution.apply(plain, [0.4, kind, kind]), plain)


def test_size_and_original_stay() -> None:
    before = IMAGE.copy()
    for kind in range(5):
        changed = LowResolution.apply(IMAGE, [0.2, kind, kind])
        assert changed.shape == IMAGE.shape and changed.dtype == np.uint8
    np.testing.assert_array_equal(IMAGE, before)
    assert LowResolution.apply(IMAGE, [0, 1, 1]) is IMAGE
