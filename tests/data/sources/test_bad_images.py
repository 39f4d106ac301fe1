from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from common.errors import UserError
from data.loading.augment import Augmentation
from data.loading.batches import Batch
from data.loading.loader import BatchLoader
from data.loading.options import DataOptions
from data.rejected import Rejection
from data.sources.bad_images import bad_images_error, replacement_candidates
from data.sources.synthetic import SyntheticSource
from tests.support.bad_images import BadSource

PLAIN = Augmentation(mirror=False)
CHANGED = Augmentation(mirror=True, shift=2, zoom=0.1, color=2)
GOOD = SyntheticSource(23, 5, 16, seed=1)
BAD = (3, 8, 13, 18, 4, 22)  # all images of person 3, and two more


def take(
    source: SyntheticSource, augmentation: Augmentation = PLAIN, ranks: int = 1, workers: int = 0, count: int = 12
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return images and labels of two epochs and more in the order of the stream, and the bad files."""
    options = DataOptions(4, workers, seed=7, augmentation=augmentation, bad_images="skip")
    parts: list[list[Batch]] = []
    files = []
    for rank in range(ranks):
        with BatchLoader(source, options, rank, ranks) as loader:
            batches = []
            for _ in range(count):
                batch = next(loader)
                assert (source.labels(batch.indices) == batch.labels).all()  # also of images in the places of bad ones
                batches.append(replace(batch, images=batch.images.copy(), labels=batch.labels.copy()))
            files += [rejection.file for rejection in loader.take_rejected()]
        parts.append(batches)
    ordered = [part[step] for step in range(count) for part in parts]
    return np.concatenate([b.images for b in ordered]), np.concatenate([b.labels for b in ordered]), sorted(files)


def number(image: np.ndarray) -> int:
    (found,) = (i for i in range(len(GOOD)) if (GOOD.read(i)[0] == image).all())
    return found


def test_another_image_of_the_same_person_takes_the_place() -> None:
    wanted, wanted_labels, none = take(GOOD)
    images, labels, files = take(BadSource(BAD))
    assert none == []
    order = [number(image) for image in wanted]
    found = [number(image) for image in images]
    assert files == sorted(f"image {index}" for index in order if index in BAD)
    assert [index % 5 for index in found] == labels.tolist()
    chosen = set()
    for position, (before, after) in enumerate(zip(order, found, strict=True)):
        if before not in BAD:
            assert after == before
            continue
        assert after not in BAD
        candidates = replacement_candidates(GOOD, 7, position // len(GOOD), before)
        assert after == next(index for index in candidates if index not in BAD)
        if before % 5 == 3:  # nobody else has a good image of this person: the next one does
            assert after == next(i % 23 for i in range(before + 1, 60) if i % 23 not in BAD)
        else:
            assert after % 5 == before % 5
            chosen.add((before, after))
    assert {before for before, _ in chosen} == {4, 22} and len(chosen) > 2  # not the same in each epoch
    assert wanted_labels[0] == order[0] % 5


@pytest.mark.parametrize(("ranks", "workers"), [(2, 0), (1, 2)])
def test_ranks_and_workers_choose_the_same(ranks: int, workers: int) -> None:
    expected, found = (take(BadSource(BAD), CHANGED, *how) for how in ((1, 0), (ranks, workers)))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("workers", [0, 1])
def test_stop_names_every_bad_image_of_the_batch(workers: int) -> None:
    with BatchLoader(BadSource(range(3, 23)), DataOptions(23, workers)) as loader, pytest.raises(UserError) as caught:
        next(loader)
    lines = str(caught.value).splitlines()
    assert sorted(lines) == sorted(
        f"image {i}: it is bad; --bad_images skip takes another image in its place" for i in range(3, 23)
    )


def test_an_error_has_at_most_twenty_bad_images() -> None:
    *lines, last = str(bad_images_error([Rejection(str(i), "not decodable", "bad") for i in range(23)])).splitlines()
    assert len(lines) == 20 and last == "and 3 more bad images in the same step"


def test_without_any_good_image_the_error_says_so() -> None:
    with (
        BatchLoader(BadSource(range(23)), DataOptions(4, bad_images="skip")) as loader,
        pytest.raises(UserError, match=r"image \d+: it is bad, and no image that could replace it is good"),
    ):
        next(loader)


class LostSource(SyntheticSource):
    """Its file cannot be read."""

    def fetch(self, locations: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise UserError("part-00000 cannot be read: Input/output error")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_cannot_be_read_is_not_skipped(workers: int) -> None:
    with (
        BatchLoader(LostSource(23, 5, 16), DataOptions(4, workers, bad_images="skip")) as loader,
        pytest.raises(UserError, match="part-00000 cannot be read: Input/output error"),
    ):
        next(loader)
