"""Centres of people against plain loops, and against the arithmetic of Sub-center ArcFace's drop.py."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from evaluation import person_centres
from evaluation.person_centres import dominant_centres, mean_centres, near_pairs, trimmed_centres

PEOPLE, IMAGES, WIDTH = 7, 9, 16


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that end within a person."""
    monkeypatch.setattr(person_centres, "_BLOCK", 5)


@pytest.fixture
def faces() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings around a direction per person, three of them far from it, in no order; labels; these directions."""
    generator = np.random.default_rng(0)
    directions = normalize(generator.normal(size=(PEOPLE, WIDTH)))
    labels = generator.permutation(np.repeat(np.arange(PEOPLE), IMAGES))
    embeddings = directions[labels] + 0.1 * generator.normal(size=(len(labels), WIDTH))
    embeddings[[3, 20, 40]] = -embeddings[[3, 20, 40]]
    return (embeddings * generator.uniform(1, 20, (len(labels), 1))).astype(np.float32), labels, directions


def test_means_are_those_of_unit_rows(faces: tuple[np.ndarray, ...]) -> None:
    embeddings, labels, _ = faces
    used = np.random.default_rng(1).random(len(labels)) < 0.6
    for chosen in (None, used):
        centres = mean_centres(embeddings, labels, PEOPLE + 1, chosen)
        for person in range(PEOPLE):
            own = (labels == person) & (True if chosen is None else chosen)
            expected = normalize(embeddings[own].astype(np.float64)).mean(0)
            np.testing.assert_allclose(centres[person], expected / np.linalg.norm(expected), atol=1e-6)
        assert not centres[PEOPLE].any()  # a person without images


def test_images_are_compared_with_the_others_of_their_person(faces: tuple[np.ndarray, ...]) -> None:
    embeddings, labels, _ = faces
    labels = labels.copy()
    labels[labels == PEOPLE - 1] = np.r_[PEOPLE - 1, np.zeros(IMAGES - 1, int)]  # a person with one image
    used = np.random.default_rng(1).random(len(labels)) < 0.6
    unit = normalize(embeddings.astype(np.float64))
    for chosen in (None, used):
        cosines = person_centres.cosines_to_others(embeddings, labels, PEOPLE, chosen)
        for number, cosine in enumerate(cosines):
            others = (labels == labels[number]) & (np.arange(len(labels)) != number)
            others &= True if chosen is None else chosen
            if not others.any():
                assert np.isnan(cosine)
                continue
            mean = unit[others].mean(0)
            assert cosine == pytest.approx(unit[number] @ mean / np.linalg.norm(mean), abs=1e-5)
    assert np.isnan(person_centres.cosines_to_others(embeddings, labels, PEOPLE)).sum() == 1


def test_far_images_are_found_and_do_not_move_the_centre(faces: tuple[np.ndarray, ...]) -> None:
    embeddings, labels, directions = faces
    centres, cosines = trimmed_centres(embeddings, labels, PEOPLE, 75)
    assert np.flatnonzero(cosines <= np.cos(np.radians(75))).tolist() == [3, 20, 40]
    keep = np.ones(len(labels), bool)
    keep[[3, 20, 40]] = False
    np.testing.assert_allclose(centres, mean_centres(embeddings, labels, PEOPLE, keep), atol=1e-6)
    assert np.einsum("pe,pe->p", centres, directions).min() > 0.95


def test_people_with_one_or_two_images() -> None:
    embeddings = np.array([[1, 0.2], [-1, 0.2], [0, 1], [1, 0], [1, 0.1]], np.float32)
    centres, cosines = trimmed_centres(embeddings, np.array([0, 0, 1, 2, 2]), 3, 60)
    assert (cosines[:2] < -0.9).all()  # which of two different images is wrong, nobody can tell
    assert cosines[2] == 1
    assert (cosines[3:] > 0.99).all()
    np.testing.assert_allclose(centres[:2], [[0, 1], [0, 1]], atol=1e-6)


def drop(embeddings: np.ndarray, labels: np.ndarray, weights: np.ndarray, threshold: float) -> list[int]:
    """What drop.py keeps: for each class the sub-centre with most votes, and a cosine above the threshold's."""
    count = weights.shape[1]
    weights = normalize(weights.reshape(-1, weights.shape[-1])).reshape(weights.shape)
    kept = []
    for person in range(len(weights)):
        own = np.flatnonzero(labels == person)
        x, votes = normalize(embeddings[own]), np.zeros(count, int)
        for row in x:
            votes[np.argmax(np.dot(weights[person], row))] += 1
        similar = np.dot(x, weights[person][np.argmax(votes)])
        kept += own[similar > np.cos(np.pi * threshold / 180)].tolist()
    return sorted(kept)


@pytest.mark.parametrize("threshold", [30, 60, 75, 88])
def test_the_rule_for_subcentres_is_that_of_drop_py(threshold: float) -> None:
    generator = np.random.default_rng(threshold)
    labels = np.sort(generator.integers(0, PEOPLE, 80))
    weights = generator.normal(size=(PEOPLE, 3, WIDTH)).astype(np.float32)
    nearest = weights[labels, generator.choice(3, 80, p=[0.2, 0.5, 0.3])]
    embeddings = (nearest + generator.normal(scale=1.2, size=nearest.shape)).astype(np.float32)
    _, cosines = dominant_centres(embeddings, labels, weights)
    kept = np.flatnonzero(cosines > person_centres.cosine_of_angle(threshold)).tolist()
    assert kept == drop(embeddings, labels, weights, threshold)
    assert 0 < len(kept) < 80


@pytest.mark.parametrize("within", [False, True])
def test_near_pairs_are_all_pairs_above_the_cosine(within: bool) -> None:
    generator = np.random.default_rng(2)
    first = normalize(generator.normal(size=(23, 4))).astype(np.float32)
    second = first if within else normalize(generator.normal(size=(17, 4))).astype(np.float32)
    first[6] = 0
    pairs, cosines = near_pairs(first, None if within else second, 0.5)
    products = first @ second.T
    expected = {
        (a, b) for a in range(len(first)) for b in range(len(second)) if products[a, b] > 0.5 and (a < b or not within)
    }
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    assert len(pairs) == len(expected) > 5
    np.testing.assert_allclose(cosines, products[pairs[:, 0], pairs[:, 1]], atol=1e-6)
    assert (np.diff(cosines) <= 0).all()
