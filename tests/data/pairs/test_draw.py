from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from common.errors import UserError
from data.pairs.draw import draw_pairs
from data.pairs.lists import Pair
from evaluation.pair_metrics import fold_slices


def make_people(*counts: int) -> dict[str, list[Path]]:
    """People with these numbers of photos."""
    return {f"p{i}": [Path(f"p{i}") / str(photo) for photo in range(count)] for i, count in enumerate(counts)}


def person(path: Path) -> str:
    return path.parts[0]


def check(pairs: list[Pair], count: int, folds: int) -> None:
    """Balanced, without repetition, right labels, and no person in two of the folds that verification makes."""
    assert len(pairs) == count == len({frozenset(pair[:2]) for pair in pairs})
    assert all(pair.first != pair.second for pair in pairs)
    assert all(pair.same == (person(pair.first) == person(pair.second)) for pair in pairs)
    met: set[str] = set()
    for number, fold in enumerate(fold_slices(count, folds)):
        part = pairs[fold]
        assert sum(pair.same for pair in part) == len(part) / 2
        assert {pair.place for pair in part} == {f"fold {number}"}
        people = {person(side) for pair in part for side in pair[:2]}
        assert not people & met
        met |= people


@pytest.mark.parametrize(
    ("counts", "count", "folds"),
    [
        ([10] * 40, 600, 10),
        ([2] * 20, 20, 10),  # each same pair that there is
        ([3] * 8, 24, 4),  # 6 same pairs of each two people are 3 + 3, of 9 different ones 3 are drawn
        ([1] * 30 + [9] * 10, 400, 5),
        ([200, 3, 3, 2, 2, 1, 1, 50, 40, 30], 12, 3),
        ([4] * 2000, 2000, 10),
    ],
)
def test_what_is_drawn(counts: list[int], count: int, folds: int) -> None:
    people = make_people(*counts)
    pairs = draw_pairs(people, count, folds, seed=5)
    check(pairs, count, folds)
    assert pairs == draw_pairs(people, count, folds, seed=5)
    if count < 1000 and counts != [2] * 20:
        assert pairs != draw_pairs(people, count, folds, seed=6)


def test_pairs_are_spread_over_people() -> None:
    """A person with many photos does not fill the set, and each couple of people is met about as often."""
    pairs = draw_pairs(make_people(100, *[5] * 9), 200, 2, seed=1)
    same = Counter(person(pair.first) for pair in pairs if pair.same)
    assert set(same.values()) == {10}  # five people and 50 same pairs in each fold
    couples = Counter(
        frozenset(map(person, pair[:2])) for pair in draw_pairs(make_people(*[5] * 6), 60, 2) if not pair.same
    )
    assert set(couples.values()) == {5}


def test_every_photo_may_be_drawn() -> None:
    drawn = {side for seed in range(30) for pair in draw_pairs(make_people(*[5] * 6), 12, 3, seed) for side in pair[:2]}
    assert len(drawn) == 30


@pytest.mark.parametrize(
    ("counts", "count", "folds", "message"),
    [
        ([10] * 40, 5, 10, r"--draw 5 must be a multiple of 20, such as 20: each of the 10 folds \(--folds\)"),
        ([10] * 40, 50, 10, "--draw 50 must be a multiple of 20, such as 40"),
        ([10] * 8, 100, 10, r"8 people with 80 photos give 0 pairs in 10 folds .*--folds \(at most 4"),
        ([2] * 20, 60, 10, "--draw 60: 20 people with 40 photos give 40 pairs in 10 folds"),
        ([1] * 20, 20, 10, "give 0 pairs"),
        ([10] * 8, 2, 1, "--folds 1 must be at least 2"),
    ],
)
def test_too_few(counts: list[int], count: int, folds: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw_pairs(make_people(*counts), count, folds)
