from __future__ import annotations

import numpy as np

from data.augmentations.exposure import Exposure


def random_image(low: int = 100, high: int = 150) -> np.ndarray:
    return np.random.default_rng(0).integers(low, high, (16, 16, 3), np.uint8)


def test_draws_fill_their_ranges_and_are_independent() -> None:
    draws = Exposure(contrast=0.2, brightness=0.15).draw(1, 0, np.arange(20000))
    np.testing.assert_allclose(draws.min(axis=0), [0.8, -0.15], atol=0.01)
    np.testing.assert_allclose(draws.max(axis=0), [1.2, 0.15], atol=0.01)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.03


def test_moves_pixels_about_the_mean_and_by_a_share_of_it() -> None:
    image = random_image()
    mean = image.mean()
    for factor, share in ((1, 0), (1.5, 0), (0.5, 0), (1, 0.2), (1.2, -0.2)):
        expected = np.rint(image * factor + mean * (1 - factor + share))
        changed = Exposure.apply(image, [factor, share])
        assert changed.dtype == np.uint8
        np.testing.assert_allclose(changed, expected, atol=1e-9)


def test_what_leaves_the_range_is_cut_off() -> None:
    image = random_image(0, 256)
    changed = Exposure.apply(image, [3, 0])
    assert changed.min() == 0 and changed.max() == 255
