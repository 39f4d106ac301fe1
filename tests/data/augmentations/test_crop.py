from __future__ import annotations

import numpy as np

from data.augmentations.crop import Crop

DRAWS = Crop(0.25).draw(1, 0, np.arange(20000))
CHOSEN = DRAWS[DRAWS[:, 0] > 0].astype(np.float64)


def torchvision_rectangles(count: int) -> np.ndarray:
    """(height, width) in shares of the image, by the rule of RandomResizedCrop.get_params, one after another."""
    generator = np.random.default_rng(0)
    rectangles = []
    for _ in range(count):
        found = (1.0, 1.0)
        for _ in range(10):
            area = generator.uniform(0.2, 1.0)
            aspect = np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3)))
            width, height = np.sqrt(area * aspect), np.sqrt(area / aspect)
            if width <= 1 and height <= 1:
                found = (height, width)
                break
        rectangles.append(found)
    return np.array(rectangles)


def test_as_many_as_the_probability_says() -> None:
    assert abs(len(CHOSEN) / len(DRAWS) - 0.25) < 0.013  # 4 standard deviations
    assert (Crop(1).draw(1, 0, np.arange(100))[:, 0] > 0).all()


def test_rectangles_are_distributed_as_torchvisions() -> None:
    height, width = CHOSEN[:, 0], CHOSEN[:, 1]
    assert (height * width).min() >= 0.2 - 1e-6 and max(height.max(), width.max()) <= 1
    assert (width / height).min() > 0.75 - 1e-6 and (width / height).max() < 4 / 3 + 1e-6
    reference = torchvision_rectangles(5000)
    for ours, theirs in ((height, reference[:, 0]), (width, reference[:, 1]), (height * width, reference.prod(axis=1))):
        np.testing.assert_allclose(
            np.quantile(ours, np.arange(1, 10) / 10), np.quantile(theirs, np.arange(1, 10) / 10), atol=0.03
        )


def test_the_rectangle_stays_and_the_rest_is_black() -> None:
    image = np.random.default_rng(0).integers(1, 256, (20, 20, 3), np.uint8)
    before = image.copy()
    expected = np.zeros_like(image)
    expected[5:15, 2:18] = image[5:15, 2:18]  # 11 places from the top, 5 from the left
    np.testing.assert_array_equal(Crop.apply(image, [0.5, 0.8, 0.46, 0.5]), expected)
    np.testing.assert_array_equal(image, before)
    assert Crop.apply(image, [0, 0, 0.5, 0.5]) is image
    np.testing.assert_array_equal(Crop.apply(image, [1, 1, 0.99, 0.99]), image)


def test_every_place_can_be_taken() -> None:
    image = np.ones((20, 20, 3), np.uint8)
    places = np.arange(0, 1, 1 / 64)
    tops = {int(np.flatnonzero(Crop.apply(image, [0.5, 0.5, place, 0])[:, 0, 0])[0]) for place in places}
    assert tops == set(range(11))
