from __future__ import annotations

import numpy as np
import pytest

from data.augmentations.geometry import Geometry


def mirror_flags(seed: int, epochs: int | np.ndarray, indices: np.ndarray) -> np.ndarray:
    return Geometry().draw(seed, epochs, indices)[:, 0] == 1


def random_image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def test_half_of_the_images_in_every_epoch_and_independent() -> None:
    indices = np.arange(20000)
    first, second, other_seed = (mirror_flags(*key, indices) for key in ((1, 0), (1, 1), (2, 0)))
    for flags in (first, second, other_seed, first ^ second, first ^ other_seed, first[1:] ^ first[:-1]):
        assert abs(flags.mean() - 0.5) < 0.015  # 4 standard deviations


def test_draws_fill_their_ranges_and_are_independent() -> None:
    draws = Geometry(mirror=True, shift=6, zoom=0.1).draw(1, 0, np.arange(20000))
    np.testing.assert_allclose(draws.min(axis=0), [0, -6, -6, 0.9], atol=0.01)
    np.testing.assert_allclose(draws.max(axis=0), [1, 6, 6, 1.1], atol=0.01)
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.03


def test_without_a_change_the_image_stays() -> None:
    image = random_image()
    draws = Geometry(mirror=False).draw(1, 0, np.arange(100))
    assert all(Geometry.apply(image, draw) is image for draw in draws)


def test_a_whole_shift_moves_pixels_and_repeats_edges() -> None:
    image = random_image()
    moved = Geometry.apply(image, np.array([0, 3, -2, 1], np.float32))
    rows, columns = np.clip(np.arange(16) + 2, 0, 15), np.clip(np.arange(16) - 3, 0, 15)
    np.testing.assert_array_equal(moved, image[rows][:, columns])


def test_mirror_comes_first() -> None:
    image = random_image()
    np.testing.assert_array_equal(
        Geometry.apply(image.copy(), np.array([1, 3, 1, 1.05], np.float32)),
        Geometry.apply(image[:, ::-1].copy(), np.array([0, 3, 1, 1.05], np.float32)),
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 31, 33, 64, 96, 112, 113, 224])
def test_mirrors_where_the_image_lies(size: int) -> None:
    batch = np.random.default_rng(size).integers(0, 256, (3, size, size, 3), np.uint8)
    before, image = batch.copy(), list(batch)[1]
    assert Geometry.apply(image, (1, 0, 0, 1)) is image
    np.testing.assert_array_equal(batch, [before[0], before[1, :, ::-1], before[2]])


@pytest.mark.parametrize("zoom", [0.9, 1.1])
def test_zoom_keeps_the_centre(zoom: float) -> None:
    ramp = np.broadcast_to(np.arange(17, dtype=np.uint8)[None, :, None] * 10, (17, 17, 3))
    row = Geometry.apply(ramp, np.array([0, 0, 0, zoom], np.float32))[8, :, 0].astype(float)
    expected = np.clip(80 + (np.arange(17) - 8) * 10 / zoom, 0, 160)
    np.testing.assert_allclose(row, expected, atol=1.5)
