from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest

from data.loading.augment import Augmentation
from data.loading.loader import BatchLoader
from data.loading.options import DataOptions
from data.sources.synthetic import SyntheticSource

ALL = Augmentation(shift=2, zoom=0.1, crop=0.5, low_res=0.5, photometric=0.5, color=2, cutoff=6)
SOURCE = SyntheticSource(23, 5, image_size=16, seed=1)


def test_depends_on_each_image_alone() -> None:
    indices = np.random.default_rng(0).permutation(1000)
    draws = ALL.draw(3, 4, np.arange(1000))
    np.testing.assert_array_equal(ALL.draw(3, 4, indices), draws[indices])
    np.testing.assert_array_equal(ALL.draw(3, np.full(1000, 4), indices), draws[indices])
    for other in (ALL.draw(4, 4, indices), ALL.draw(3, 5, indices)):
        # The interpolations, their orders and the qualities are few, and many images have no such change.
        assert (other != draws[indices]).mean(axis=0).min() > 0.4


def test_what_is_added_leaves_the_other_draws_as_they_are() -> None:
    alone = Augmentation(cutoff=6).draw(3, 4, np.arange(100))
    np.testing.assert_array_equal(ALL.draw(3, 4, np.arange(100))[:, [0, -3, -2, -1]], alone[:, [0, 4, 5, 6]])


def test_all_draws_are_independent() -> None:
    together = Augmentation(shift=2, zoom=0.1, crop=1, low_res=1, photometric=1, color=2, cutoff=6)
    draws = together.draw(1, 0, np.arange(20000))
    correlation = np.corrcoef(draws.T) - np.eye(draws.shape[1])
    correlation[4, 5] = correlation[5, 4] = 0  # height and width of the crop share an area
    assert np.abs(correlation).max() < 0.03


def test_the_number_of_columns() -> None:
    for augmentation in (Augmentation(), Augmentation(crop=0.1), Augmentation(color=1, cutoff=2), ALL):
        draws = augmentation.draw(0, 0, np.arange(5))
        assert draws.shape == (5, augmentation.columns) and draws.dtype == np.float32
    assert Augmentation().columns == 4


@pytest.mark.parametrize(
    ("augmentation", "names"),
    [
        (Augmentation(), ["Geometry"]),
        (Augmentation(color=1), ["Geometry", "ColorJitter"]),
        (Augmentation(color=2, cutoff=4), ["Geometry", "Compression", "ColorJitter", "Cutoff"]),
        (Augmentation(crop=0.2, low_res=0.2, photometric=0.2), ["Geometry", "Crop", "LowResolution", "Photometric"]),
    ],
)
def test_the_order_of_the_originals(augmentation: Augmentation, names: list[str]) -> None:
    assert [type(family).__name__ for family in augmentation.families()] == names


def test_families_are_applied_one_after_another() -> None:
    image = cv2.GaussianBlur(SOURCE.read(3)[0], (0, 0), 2)
    change, families = ALL.make_change(), ALL.families()
    for draw in ALL.draw(1, 0, np.arange(50)).tolist():
        expected, first = image.copy(), 0
        for family in families:
            expected = family.apply(expected, draw[first : first + family.columns])
            first += family.columns
        np.testing.assert_array_equal(change(image.copy(), draw), expected)
        assert expected.dtype == np.uint8 and expected.shape == image.shape


def test_without_augmentation_the_image_stays() -> None:
    image, plain = SOURCE.read(0)[0], Augmentation(mirror=False)
    change, before = plain.make_change(), image.copy()
    assert all(change(image, draw) is image for draw in plain.draw(1, 0, np.arange(100)).tolist())
    np.testing.assert_array_equal(image, before)


def test_runs_without_the_further_changes_get_the_images_they_always_got() -> None:
    """The digests date from before these changes, when four numbers were drawn per image."""
    batches = hashlib.sha256()
    with BatchLoader(SOURCE, DataOptions(4, seed=3)) as loader:
        for _ in range(9):
            batch = next(loader)
            batches.update(batch.images.transpose(0, 3, 1, 2).tobytes() + batch.labels.tobytes())
    assert batches.hexdigest() == "d53bfb50e7d6af7e006a8a4d3b3f1546fae1227eccb72cae0fbd2b6e232d5369"
    draws = Augmentation(shift=6, zoom=0.1).draw(3, np.arange(100) // 30, np.arange(100))
    digest = hashlib.sha256(draws.tobytes()).hexdigest()
    assert digest == "17d5ed9f66fd25d4128e133c9a07bd7021ce26365e2aeea4c8190b0f5481fb18"
