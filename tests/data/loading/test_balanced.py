"""Orders in which classes have equal shares, or shares by the root of their size."""

from __future__ import annotations

import numpy as np
import pytest

from data.loading.balanced import BalancedStream
from data.loading.loader import BatchLoader
from data.loading.options import DataOptions
from data.sources.synthetic import SyntheticSource

SIZES = np.array([1, 0, 40, 9, 100, 4, 16, 0])
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(len(SIZES)), SIZES))
COUNT = len(LABELS)


class Uneven(SyntheticSource):
    """Synthetic images of classes of very different size."""

    def labels(self, indices: np.ndarray) -> np.ndarray:
        return LABELS[indices].astype(np.int32)


SOURCE = Uneven(COUNT, len(SIZES), 16)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_each_class_has_its_share_and_each_image_its_turn(power: float) -> None:
    stream = BalancedStream(SOURCE, 3, power)
    wanted = np.where(SIZES > 0, np.maximum(SIZES, 1) ** power, 0.0)
    wanted *= COUNT / wanted.sum()
    total = np.zeros(len(SIZES))
    for epoch in range(40):
        order = stream.order(epoch)
        counts = np.bincount(LABELS[order], minlength=len(SIZES))
        assert len(order) == COUNT and (np.abs(counts - wanted) < 1 + 1e-9).all()
        total += counts
        for c in np.flatnonzero(SIZES):
            times = np.bincount(order[LABELS[order] == c], minlength=COUNT)[c == LABELS]
            assert times.max() - times.min() <= 1
    np.testing.assert_allclose(total / 40, wanted, atol=0.3)
    if power == 1:
        np.testing.assert_array_equal(np.sort(stream.order(5)), np.arange(COUNT))
    assert not np.array_equal(stream.order(1), stream.order(2))


def test_an_image_that_occurs_again_is_augmented_in_another_way() -> None:
    indices, epochs = BalancedStream(SOURCE, 3, 0.0).take(COUNT, 3 * COUNT)
    assert set((epochs & 0xFFFFFFFF).tolist()) == {1, 2}
    assert len(set(zip(indices.tolist(), epochs.tolist(), strict=True))) == len(indices)


def test_batches_are_the_same_on_any_number_of_ranks_and_from_any_step() -> None:
    def read(ranks: int, start: int, stop: int) -> list[tuple[np.ndarray, np.ndarray]]:
        loaders = [BatchLoader(SOURCE, DataOptions(12, sampler="class"), r, ranks, start) for r in range(ranks)]
        batches = []
        for _ in range(start, stop):
            parts = [next(loader) for loader in loaders]
            images = np.concatenate([part.images.copy() for part in parts])
            batches.append((images, np.concatenate([part.labels for part in parts])))
        for loader in loaders:
            loader.close()
        return batches

    whole = read(1, 0, 20)
    for ranks, start in ((3, 0), (1, 15)):
        for (images, labels), (others, own) in zip(read(ranks, start, 20), whole[start:], strict=True):
            np.testing.assert_array_equal(labels, own)
            np.testing.assert_array_equal(images, others)
    counts = np.bincount(np.concatenate([labels for _, labels in whole]), minlength=len(SIZES))
    assert counts[SIZES > 0].min() > 0.5 * counts.max()
