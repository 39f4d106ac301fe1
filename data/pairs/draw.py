"""Draw a verification set from a folder of people: seeded, as many same as different pairs, no person in two folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError
from data.pairs.lists import Pair


def draw_pairs(people: Mapping[str, Sequence[Path]], count: int, folds: int = 10, seed: int = 0) -> list[Pair]:
    """Draw ``count`` pairs, fold after fold; no pair occurs twice.

    In each fold the same pairs are spread evenly over its people, and the different ones over its pairs of people, as
    far as their photos allow.

    Args:
        people: the photos of each person; those with one photo take part in different pairs only.
        count: number of pairs, a multiple of twice ``folds``.
        folds: number of folds, consecutive parts of the result. A person belongs to one fold.
        seed: the same seed, people and photos give the same pairs.

    Raises:
        UserError: ``count`` does not divide into folds, or the people and photos are too few; the message says how many
            pairs they allow.
    """
    if folds < 2:
        raise UserError(f"--folds {folds} must be at least 2")
    if count < 2 * folds or count % (2 * folds):
        possible = max(1, count // (2 * folds)) * 2 * folds
        raise UserError(
            f"--draw {count} must be a multiple of {2 * folds}, such as {possible}: each of the {folds} folds "
            "(--folds) gets as many pairs of one person as of two"
        )
    rng = np.random.Generator(np.random.Philox(seed))
    groups = _divide(people, folds, rng)
    half = count // (2 * folds)
    possible = min(min(_same_pairs(group), _different_pairs(group)) for group in groups)
    if possible < half:
        raise UserError(
            f"--draw {count}: {len(people)} people with {sum(map(len, people.values()))} photos give "
            f"{2 * folds * possible} pairs in {folds} folds without common people; draw fewer, set a smaller "
            f"--folds (at most {len(people) // 2}: two people each), or add people with two photos or more"
        )
    pairs = []
    for fold, group in enumerate(groups):
        drawn = _draw_same(group, half, rng) + _draw_different(group, half, rng)
        place = f"fold {fold}"
        pairs += [Pair(*drawn[number], number < half, place) for number in rng.permutation(len(drawn))]
    return pairs


def _divide(people: Mapping[str, Sequence[Path]], folds: int, rng: np.random.Generator) -> list[list[Sequence[Path]]]:
    """Return the photos of the people of each fold: people are dealt to and fro, by their number of photos."""
    photos = [people[name] for name in people if people[name]]
    order = sorted(rng.permutation(len(photos)).tolist(), key=lambda number: -len(photos[number]))
    groups: list[list[Sequence[Path]]] = [[] for _ in range(folds)]
    for place, number in enumerate(order):
        turn, fold = divmod(place, folds)
        groups[folds - 1 - fold if turn % 2 else fold].append(photos[number])
    return groups


def _same_pairs(group: Sequence[Sequence[Path]]) -> int:
    return sum(math.comb(len(photos), 2) for photos in group)


def _different_pairs(group: Sequence[Sequence[Path]]) -> int:
    counts = [len(photos) for photos in group]
    return (sum(counts) ** 2 - sum(count**2 for count in counts)) // 2


def _draw_same(group: Sequence[Sequence[Path]], count: int, rng: np.random.Generator) -> list[tuple[Path, Path]]:
    shares = _spread([math.comb(len(photos), 2) for photos in group], count, rng)
    pairs = []
    for photos, share in zip(group, shares, strict=True):
        for number in rng.choice(math.comb(len(photos), 2), share, replace=False):
            first, second = _unrank(int(number))
            pairs.append((photos[first], photos[second]))
    return pairs


def _draw_different(group: Sequence[Sequence[Path]], count: int, rng: np.random.Generator) -> list[tuple[Path, Path]]:
    couples = math.comb(len(group), 2)
    if couples >= count:  # each couple at most once, without listing millions of them
        chosen = [_unrank(int(number)) for number in rng.choice(couples, count, replace=False)]
        shares = [1] * count
    else:
        chosen = [_unrank(number) for number in range(couples)]
        shares = _spread([len(group[a]) * len(group[b]) for a, b in chosen], count, rng)
    pairs = []
    for (first, second), share in zip(chosen, shares, strict=True):
        photos, others = group[first], group[second]
        for number in rng.choice(len(photos) * len(others), share, replace=False):
            pairs.append((photos[int(number) // len(others)], others[int(number) % len(others)]))
    return pairs


def _spread(capacities: Sequence[int], total: int, rng: np.random.Generator) -> list[int]:
    """Return shares that add up to ``total`` and are as equal as their capacities, whose sum is enough, allow."""
    capacity, shares = np.array(capacities, np.int64), np.zeros(len(capacities), np.int64)
    while (left := total - int(shares.sum())) > 0:
        open_places = np.flatnonzero(shares < capacity)
        each = left // len(open_places)
        if each:
            shares[open_places] += np.minimum(each, (capacity - shares)[open_places])
        else:
            shares[rng.choice(open_places, left, replace=False)] += 1
    return shares.tolist()


def _unrank(number: int) -> tuple[int, int]:
    """Return pair ``number`` of 0 <= first < second: (0, 1), (0, 2), (1, 2), (0, 3), ..."""
    second = (1 + math.isqrt(1 + 8 * number)) // 2
    return number - second * (second - 1) // 2, second
