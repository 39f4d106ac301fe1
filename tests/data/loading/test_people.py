"""Batches of P people with K images each, against a plain recount."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import UserError
from data.loading.loader import BatchLoader
from data.loading.options import DataOptions
from data.loading.people import PeopleStream
from data.sources.synthetic import SyntheticSource
from settings.complete import complete_config
from settings.train_command import resolve_train_config

SIZES = np.array([1, 0, 7, 3, 12, 4])
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(len(SIZES)), SIZES))
PEOPLE, K = 5, 4


class Uneven(SyntheticSource):
    """Synthetic images of people with few and with many of them."""

    def labels(self, indices: np.ndarray) -> np.ndarray:
        return LABELS[indices].astype(np.int32)


SOURCE = Uneven(len(LABELS), len(SIZES), 16)


def test_a_round_has_each_person_once_with_as_many_images() -> None:
    stream = PeopleStream(SOURCE, 3, K)
    chosen = np.zeros(len(LABELS))
    for number in range(60):
        order = stream.order(number).reshape(PEOPLE, K)
        assert (LABELS[order] == LABELS[order[:, :1]]).all()
        assert sorted(LABELS[order[:, 0]]) == np.flatnonzero(SIZES).tolist()
        for person, images in zip(LABELS[order[:, 0]], order, strict=True):
            assert len(set(images.tolist())) == min(K, SIZES[person])
            assert np.bincount(images).max() == -(-K // SIZES[person])
        chosen += np.bincount(order.reshape(-1), minlength=len(LABELS))
    # Each of the 12 images of a person is in a third of the rounds, each of 3 images once or twice in each.
    np.testing.assert_allclose(chosen[LABELS == 4], 60 * K / 12, atol=12)
    np.testing.assert_allclose(chosen[LABELS == 3], 60 * K / 3, atol=12)
    assert not np.array_equal(stream.order(1), stream.order(2))


def test_an_image_that_occurs_again_is_augmented_in_another_way() -> None:
    indices, epochs = PeopleStream(SOURCE, 3, K).take(PEOPLE * K, 3 * PEOPLE * K)
    assert len(set(zip(indices.tolist(), epochs.tolist(), strict=True))) == len(indices)


def test_batches_are_people_with_their_images_on_any_number_of_ranks_and_from_any_step() -> None:
    def read(ranks: int, start: int) -> list[np.ndarray]:
        options = DataOptions(12, sampler="pk", images_per_identity=K)
        loaders = [BatchLoader(SOURCE, options, rank, ranks, start) for rank in range(ranks)]
        found = [np.concatenate([next(loader).labels for loader in loaders]) for _ in range(start, 9)]
        for loader in loaders:
            loader.close()
        return found

    whole = read(1, 0)
    for labels in whole:
        people = labels.reshape(-1, K)
        assert (people == people[:, :1]).all()
    for ranks, start in ((3, 0), (1, 5), (2, 7)):
        np.testing.assert_array_equal(read(ranks, start), whole[start:])


def test_a_batch_of_incomplete_people_is_refused() -> None:
    words = "--use_synthetic_data 1 --num_classes 7 --sampler pk --images_per_identity 5 --train_batch_size 64"
    with pytest.raises(UserError, match="--sampler pk: --train_batch_size 64 is not a multiple of --images_per_iden"):
        complete_config(resolve_train_config(words.split()), 1, "cpu")
