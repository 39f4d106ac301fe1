from __future__ import annotations

import itertools

import numpy as np
import pytest

from common.errors import UserError
from data.loading.triplets import TripletBags, select_triplets

# 40 people with 1 to 8 images each, all mixed up.
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 1 + np.arange(40) % 8)).astype(np.int32)
PER_IDENTITY = 3
IN_ROUND = int(np.minimum(np.bincount(LABELS), PER_IDENTITY).sum())


def make_bags(size: int = 30, seed: int = 5) -> TripletBags:
    return TripletBags(LABELS, PER_IDENTITY, size, seed)


def draw_round(bags: TripletBags, number: int) -> np.ndarray:
    return np.concatenate([bags.images(number * bags.per_round + i) for i in range(bags.per_round)])


def test_a_round_has_each_identity_once_with_adjacent_images() -> None:
    bags = TripletBags(LABELS, PER_IDENTITY, IN_ROUND, 5)
    assert bags.per_round == 1
    images = bags.images(0)
    people = [label for label, _ in itertools.groupby(LABELS[images])]
    assert sorted(people) == list(range(40)) and people != sorted(people)
    assert len(set(images.tolist())) == len(images) == IN_ROUND
    np.testing.assert_array_equal(np.bincount(LABELS[images]), np.minimum(np.bincount(LABELS), PER_IDENTITY))


def test_rounds_are_cut_into_full_bags() -> None:
    bags = make_bags()
    assert bags.per_round == IN_ROUND // 30
    first = draw_round(bags, 0)
    assert len(set(first.tolist())) == 30 * bags.per_round
    assert {len(bags.images(i)) for i in range(2 * bags.per_round)} == {30}
    assert set(first.tolist()) != set(draw_round(bags, 1).tolist())


def test_bags_depend_on_seed_and_number_alone() -> None:
    forwards, backwards = make_bags(), make_bags()
    there = [forwards.images(i).tolist() for i in range(7)]
    assert [backwards.images(i).tolist() for i in reversed(range(7))] == there[::-1]
    assert len(set(map(tuple, there))) == 7
    assert make_bags(seed=6).images(0).tolist() != there[0]
    draws = [make_bags().generator(i).random() for i in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_every_image_has_its_turn() -> None:
    bags = TripletBags(LABELS, PER_IDENTITY, IN_ROUND, 5)
    assert len(np.unique(np.concatenate([bags.images(i) for i in range(30)]))) == len(LABELS)


@pytest.mark.parametrize(
    ("labels", "size", "message"),
    [
        (
            LABELS,
            IN_ROUND + 1,
            f"--triplet_bag_size {IN_ROUND + 1} is more than the {IN_ROUND} images that 40 people "
            "have with up to --images_per_identity 3 of each",
        ),
        (np.arange(9), 4, "the 9 training images show 9 people, none with more than 1"),
        (np.zeros(9, int), 4, "the 9 training images show 1 person, none with more than 9"),
    ],
)
def test_data_that_fill_no_bag_are_an_error(labels: np.ndarray, size: int, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        TripletBags(labels, PER_IDENTITY, size, 1)
    assert "\n" not in str(caught.value)


def list_admissible(embeddings: np.ndarray, labels: np.ndarray, alpha: float, max_ap: float) -> dict:
    """Return the admissible negatives of each pair as the loops of the original find them, in float64."""
    unit = embeddings.astype(np.float64) / np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    found = {}
    for a, p in itertools.combinations(range(len(labels)), 2):
        near = ((unit[a] - unit[p]) ** 2).sum()
        if labels[a] != labels[p] or (max_ap > 0 and near > max_ap):
            continue
        far = ((unit[a] - unit) ** 2).sum(axis=1)
        negatives = {n for n in range(len(labels)) if labels[n] != labels[a] and near < far[n] < near + alpha}
        if negatives:
            found[a, p] = negatives
    return found


@pytest.mark.parametrize(("alpha", "max_ap"), [(0.3, 0.0), (0.05, 0.0), (1.0, 1.7), (0.3, 1e-3)])
def test_triplets_are_those_of_the_original_rule(alpha: float, max_ap: float) -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([4, 1, 7, 2, 9, 3], [3, 1, 5, 2, 4, 3])
    centres = rng.normal(0, 1, (10, 4))
    embeddings = ((centres[labels] + rng.normal(0, 0.8, (18, 4))) * rng.uniform(1, 30, (18, 1))).astype(np.float32)
    admissible = list_admissible(embeddings, labels, alpha, max_ap)
    drawn: dict[tuple[int, int], set[int]] = {pair: set() for pair in admissible}
    orders = set()
    for seed in range(300):
        triplets = select_triplets(embeddings, labels, alpha, max_ap, np.random.default_rng(seed))
        assert triplets.shape == (len(admissible), 3) and triplets.dtype == np.int64
        assert sorted((a, p) for a, p, _ in triplets.tolist()) == sorted(admissible)
        for a, p, n in triplets.tolist():
            drawn[a, p].add(n)
        orders.add(tuple(triplets[:, 0].tolist()))
    assert drawn == admissible  # every admissible negative occurs, and no other
    assert len(orders) > 100 or len(admissible) < 5
    again = [select_triplets(embeddings, labels, alpha, max_ap, np.random.default_rng(3)) for _ in range(2)]
    np.testing.assert_array_equal(*again)
