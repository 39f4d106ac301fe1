from __future__ import annotations

import math

import numpy as np
import pytest

from ops.heads.class_sampling import ABSENT, ClassSampling
from ops.heads.class_shards import ClassShards

CLASSES, RATIO, BATCH, SEED = 1003, 0.1, 16, 3
LABELS = np.random.default_rng(0).integers(0, CLASSES, BATCH).astype(np.int32)


def sampling(shards: int = 1, classes: int = CLASSES, ratio: float = RATIO, batch: int = BATCH, seed: int = SEED):
    return ClassSampling(ClassShards(classes, shards), ratio, batch, seed)


@pytest.mark.parametrize("ratio", [0.001, 0.1, 0.4, 0.5, 0.6, 0.99, 1.0])
@pytest.mark.parametrize("shards", [1, 2, 3, 4])
def test_the_classes_of_the_batch_and_the_right_number_of_others(shards: int, ratio: float) -> None:
    draws = sampling(shards, ratio=ratio)
    for shard in range(shards):
        start, stop = draws.shards.real_rows(shard)
        for step in range(5):
            rows = draws.draw(shard, LABELS, step)
            positives = np.unique(LABELS[LABELS // draws.shards.rows == shard])
            assert set(positives - start) <= set(rows.tolist())
            assert len(rows) == max(len(positives), math.ceil(ratio * (stop - start))) <= draws.slots
            assert rows.dtype == np.int64 and (np.diff(rows) > 0).all()
            assert rows[0] >= 0 and rows[-1] < stop - start


def test_all_classes_of_the_batch_stay_if_they_are_more_than_the_share() -> None:
    draws = sampling(2, ratio=0.001)
    assert draws.slots == BATCH
    for shard in range(2):
        start, stop = draws.shards.real_rows(shard)
        positives = np.unique(LABELS[LABELS // draws.shards.rows == shard])
        assert len(positives) > 1
        np.testing.assert_array_equal(draws.draw(shard, LABELS, 0), positives - start)


@pytest.mark.parametrize(
    ("classes", "shards", "ratio", "batch", "slots"),
    [(1000, 1, 0.1, 16, 100), (1001, 2, 0.1, 16, 51), (1000, 4, 0.01, 64, 64), (10, 4, 0.1, 64, 3), (3, 8, 0.5, 64, 1)],
)
def test_slots_hold_the_share_or_a_whole_batch(classes: int, shards: int, ratio: float, batch: int, slots: int) -> None:
    assert sampling(shards, classes, ratio, batch).slots == slots


@pytest.mark.parametrize(("classes", "shards"), [(5, 4), (3, 4), (1, 3), (7, 2)])
def test_padding_is_never_drawn(classes: int, shards: int) -> None:
    draws = sampling(shards, classes, ratio=1.0)
    labels = np.zeros(BATCH, np.int32)
    for shard in range(shards):
        start, stop = draws.shards.real_rows(shard)
        np.testing.assert_array_equal(draws.draw(shard, labels, 0), np.arange(stop - start))
    few = sampling(shards, classes, ratio=0.01)
    counts = [len(few.draw(shard, labels, 0)) for shard in range(shards)]
    assert counts == [min(1, stop - start) for start, stop in map(few.shards.real_rows, range(shards))]


@pytest.mark.parametrize("ratio", [0.1, 0.45, 0.7])
def test_negatives_are_uniform(ratio: float) -> None:
    """Each negative comes equally often: chi-square over 4000 steps, within 5 standard deviations of its mean."""
    classes, steps, labels = 60, 4000, np.array([3, 17, 17, 59])
    draws = sampling(classes=classes, ratio=ratio)
    counts = np.zeros(classes)
    for step in range(steps):
        counts[draws.draw(0, labels, step)] += 1
    positives = np.unique(labels)
    assert (counts[positives] == steps).all()
    counts = np.delete(counts, positives)
    share = (math.ceil(ratio * classes) - len(positives)) / len(counts)
    assert counts.sum() == share * len(counts) * steps
    # Without replacement the variance of a count is steps * share * (1 - share), and one degree of freedom is gone.
    chi_square = ((counts - share * steps) ** 2).sum() / (steps * share * (1 - share)) * (1 - 1 / len(counts))
    freedom = len(counts) - 1
    assert abs(chi_square - freedom) < 5 * math.sqrt(2 * freedom)


def test_pairs_of_negatives_are_independent_of_each_other() -> None:
    """Neighbours come together as often as any two."""
    classes, steps = 40, 4000
    draws = sampling(classes=classes, ratio=0.25)
    together = 0
    for step in range(steps):
        together += (np.diff(draws.draw(0, np.array([0]), step)[1:]) == 1).sum()
    expected = steps * 38 * (9 * 8) / (39 * 38)  # 38 neighbouring pairs of 39 negatives, 9 of which are drawn
    assert abs(together - expected) < 5 * math.sqrt(expected)


def test_draws_repeat_and_differ_by_seed_step_and_shard() -> None:
    base = sampling(2, classes=1004).draw(0, LABELS[:0], 5)
    np.testing.assert_array_equal(sampling(2, classes=1004).draw(0, LABELS[:0], 5), base)
    others = [
        sampling(2, classes=1004).draw(0, LABELS[:0], 6),
        sampling(2, classes=1004).draw(1, LABELS[:0], 5),
        sampling(2, classes=1004, seed=SEED + 1).draw(0, LABELS[:0], 5),
    ]
    for rows in others:
        assert len(rows) == len(base) and len(np.intersect1d(rows, base)) < len(base) / 2


@pytest.mark.parametrize("shards", [1, 3])
def test_slots_lead_to_the_labels(shards: int) -> None:
    draws = sampling(shards)
    found = np.full(BATCH, ABSENT, np.int32)
    for shard in range(shards):
        rows = draws.draw(shard, LABELS, 0)
        slots = draws.slots_of(shard, rows, LABELS)
        here = LABELS // draws.shards.rows == shard
        assert slots.dtype == np.int32 and (slots[~here] == ABSENT).all()
        np.testing.assert_array_equal(rows[slots[here] - shard * draws.slots], LABELS[here] - shard * draws.shards.rows)
        found[here] = slots[here]
    assert (found != ABSENT).all()


@pytest.mark.parametrize("ratio", [0.0001, 0.01, 0.3])
def test_lists_and_marks_draw_the_same_rows(monkeypatch: pytest.MonkeyPatch, ratio: float) -> None:
    draws = sampling(2, 20_001, ratio)
    seen = []
    for sparse in (0, math.inf):  # always lists, and always marks
        monkeypatch.setattr("ops.heads.class_sampling._SPARSE", sparse)
        seen.append([draws.draw(shard, LABELS, step) for shard in range(2) for step in range(3)])
    for listed, marked in zip(*seen, strict=True):
        assert listed.dtype == marked.dtype == np.int64
        np.testing.assert_array_equal(listed, marked)
