from __future__ import annotations

import numpy as np
import pytest

from data.augmentations.warp import Warp

SIDE = 33
CENTRE = SIDE // 2


def spot(x: int, y: int) -> np.ndarray:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[y - 1 : y + 2, x - 1 : x + 2] = 255
    return image


def find_spot(image: np.ndarray) -> tuple[float, float]:
    weights = image[..., 0].astype(float)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return (weights * columns).sum() / weights.sum(), (weights * rows).sum() / weights.sum()


def test_draws_fill_their_ranges_and_are_independent() -> None:
    draws = Warp(rotation=8, stretch=0.1).draw(1, 0, np.arange(20000))
    np.testing.assert_allclose(draws.min(axis=0), [-8, np.sqrt(0.9)], atol=0.01)
    np.testing.assert_allclose(draws.max(axis=0), [8, np.sqrt(1.1)], atol=0.01)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.03


def test_neither_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    np.testing.assert_array_equal(Warp.apply(image, [0, 1]), image)


@pytest.mark.parametrize(("angle", "place"), [(90, (CENTRE, CENTRE - 10)), (-90, (CENTRE, CENTRE + 10))])
def test_turns_about_the_centre(angle: float, place: tuple[int, int]) -> None:
    assert find_spot(Warp.apply(spot(CENTRE + 10, CENTRE), [angle, 1])) == pytest.approx(place, abs=0.1)


def test_widens_and_flattens() -> None:
    factor = np.sqrt(1.44)
    assert find_spot(Warp.apply(spot(CENTRE + 10, CENTRE), [0, factor])) == pytest.approx(
        (CENTRE + 12, CENTRE), abs=0.2
    )
    assert find_spot(Warp.apply(spot(CENTRE, CENTRE - 12), [0, factor])) == pytest.approx(
        (CENTRE, CENTRE - 10), abs=0.2
    )


def test_edges_are_repeated() -> None:
    image = np.full((SIDE, SIDE, 3), 77, np.uint8)
    np.testing.assert_array_equal(Warp.apply(image, [30, 1.05]), image)
