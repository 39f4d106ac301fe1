from __future__ import annotations

import pickle

import numpy as np
import pytest

from common.errors import UserError
from data.loading.augment import Augmentation
from data.loading.loader import BatchLoader
from data.loading.options import DataOptions
from data.sources import class_sizes
from data.sources.filtered import FilteredSource
from data.sources.synthetic import SyntheticSource


class UnevenSource(SyntheticSource):
    """Class c of 0..5 has c images."""

    def __init__(self) -> None:
        super().__init__(15, 6, image_size=8)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        return np.random.default_rng(0).permutation(np.repeat(np.arange(6), np.arange(6)))[indices].astype(np.int32)


def make_places(images: np.ndarray) -> list[np.ndarray]:
    return list(np.empty((len(images), 8, 8, 3), np.uint8))


SOURCE = UnevenSource()
LABELS = SOURCE.labels(np.arange(15))


@pytest.mark.parametrize("minimum", [1, 3, 5])
@pytest.mark.parametrize("block", [4, 1 << 20])
def test_identities_with_few_images_are_left_out(monkeypatch: pytest.MonkeyPatch, minimum: int, block: int) -> None:
    monkeypatch.setattr(class_sizes, "_BLOCK", block)
    filtered = FilteredSource(SOURCE, minimum)
    kept = np.flatnonzero(minimum <= LABELS)
    assert len(filtered) == len(kept) and filtered.num_classes == 6 and filtered.image_size == 8
    assert (filtered.num_identities, filtered.num_left_out) == (6 - minimum, minimum - 1)  # class 0 has no image
    indices = np.arange(len(kept))[::-1]
    labels = filtered.labels(indices)
    np.testing.assert_array_equal(labels, LABELS[kept][::-1])
    assert labels.dtype == np.int32
    for image, number in zip(filtered.fetch(filtered.locate(indices), make_places(indices)), kept[::-1], strict=True):
        np.testing.assert_array_equal(image, SOURCE.read(int(number))[0])


def test_nothing_left_is_one_line() -> None:
    with pytest.raises(UserError, match="^--data_images_filter 6 leaves no image: the largest class has 5 images$"):
        FilteredSource(SOURCE, 6)


def test_copies_for_workers_are_small_and_read_the_same() -> None:
    filtered = FilteredSource(SOURCE, 4)
    copy = pickle.loads(pickle.dumps(filtered))
    locations = filtered.locate(np.arange(3))
    places = make_places(locations)
    for ours, theirs in zip(filtered.fetch(locations, places), copy.fetch(locations, places), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(RuntimeError, match="sent to a worker"):
        len(copy)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_loader_reads_it(num_workers: int) -> None:
    kept = np.flatnonzero(LABELS >= 4)
    options = DataOptions(3, num_workers, augmentation=Augmentation(mirror=False))
    with BatchLoader(FilteredSource(SOURCE, 4), options) as loader:
        batches = [next(loader) for _ in range(loader.steps_per_epoch)]
        images = np.concatenate([batch.images.copy() for batch in batches])
    known = {SOURCE.read(int(i))[0].tobytes() for i in kept}
    assert {image.tobytes() for image in images} <= known and loader.steps_per_epoch == 3
