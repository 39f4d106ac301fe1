"""Thresholds for wanted false accept rates, against counting, scikit-learn's ROC and a bootstrap that resamples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_curve

from evaluation.far_thresholds import CONFIDENCE, find_thresholds
from evaluation.similarity import cosine_similarity, pair_distances
from evaluation.verification import logged_numbers, threshold_lines, verify_distances, verify_embeddings


def make_distances(pairs: int = 2000, ties: bool = False, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    issame = rng.permutation(np.arange(pairs) % 2 == 0)
    distances = np.clip(rng.normal(np.where(issame, 1.0, 1.8), 0.3), 0, 4)
    return np.round(distances, 1) if ties else distances, issame


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("far", [0.001, 0.0199, 0.07, 0.29, 0.999])
def test_the_largest_threshold_within_the_rate(far: float, ties: bool) -> None:
    distances, issame = make_distances(ties=ties)
    (found,) = find_thresholds(distances, issame, [far])
    same, different = distances[issame], distances[~issame]
    assert found.far == np.mean(different < found.distance) <= far
    assert np.mean(different < np.nextafter(found.distance, 5)) > far  # any larger threshold accepts too many
    assert found.tar == np.mean(same < found.distance)
    fpr, tpr, _ = roc_curve(issame, -distances, drop_intermediate=False)
    assert found.tar == pytest.approx(tpr[fpr <= far].max(), abs=0 if ties else 2e-3)  # between two points of the curve
    assert found.cosine == 1 - found.distance / 2


@pytest.mark.parametrize("ties", [False, True])
def test_intervals_are_those_of_a_bootstrap_that_resamples(ties: bool) -> None:
    distances, issame = make_distances(400, ties)
    far = 0.05
    (found,) = find_thresholds(distances, issame, [far])
    rng = np.random.default_rng(1)
    same, different = distances[issame], distances[~issame]
    drawn = np.sort(rng.choice(different, (4000, len(different))), axis=1)[:, int(far * len(different))]
    tars = (rng.choice(same, (4000, len(same))) < drawn[:, None]).mean(axis=1)
    spread = np.std(different) / 20 if not ties else 0.1
    assert found.distance_interval == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=spread)
    assert found.tar_interval == pytest.approx(tuple(np.quantile(tars, [0.025, 0.975])), abs=0.02)
    low, high = found.distance_interval
    assert low <= found.distance <= high
    assert found.cosine_interval == (1 - high / 2, 1 - low / 2)


def test_the_ends_of_an_interval_have_the_exact_probability() -> None:
    """The (k+1)-th smallest of a resample is at most the j-th value if k+1 draws or more are among the first j."""
    distances, issame = make_distances(2000)
    (found,) = find_thresholds(distances, issame, [0.01])
    different = np.sort(distances[~issame])
    below = binom.sf(10, len(different), np.arange(1, len(different) + 1) / len(different))  # P(at least 11)
    for end, probability in zip(found.distance_interval, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2), strict=True):
        place = np.searchsorted(different, end)
        assert below[place - 1] - 0.005 < probability < below[place] + 0.005


def test_the_interval_covers_the_true_threshold() -> None:
    """Of 95 % intervals of small sets about 95 % cover the quantile of the distribution that they were drawn from."""
    rng = np.random.default_rng(2)
    truth, hits = 0.05, 0  # the 5 % quantile of uniform distances on [0, 1]
    for _ in range(200):
        distances = rng.random(500)
        low, high = find_thresholds(distances, np.zeros(500, bool), [0.05])[0].distance_interval
        hits += low <= truth <= high
    assert 180 <= hits <= 199


def test_a_set_too_small_for_a_rate_has_no_threshold() -> None:
    distances, issame = make_distances(40)
    below, at = find_thresholds(distances, issame, [0.049, 0.05])
    assert not below.is_measured and np.isnan([below.distance, below.cosine, below.far, below.tar]).all()
    assert at.is_measured and at.distance == np.sort(distances[~issame])[1]
    assert np.isnan([found.distance for found in find_thresholds(distances, np.ones(40, bool), [0.5])]).all()
    (one_kind,) = find_thresholds(distances, np.zeros(40, bool), [0.5])
    assert one_kind.is_measured and np.isnan(one_kind.tar)


def test_a_verification_has_thresholds_for_both_embeddings(hard_set) -> None:
    plain, flipped, issame = hard_set
    result = verify_embeddings("hard", plain, flipped, issame, far_targets=[0.1, 0.02])
    assert [(each.far_target, each.mirrored) for each in result.thresholds] == [
        (0.1, True),
        (0.02, True),
        (0.1, False),
        (0.02, False),
    ]
    for each in result.thresholds:
        rows = plain.astype(np.float64) + flipped if each.mirrored else plain
        similarity = cosine_similarity(rows[0::2], rows[1::2])
        expected = np.sort(similarity[~issame])[::-1][int(each.far_target * 150)]
        assert each.cosine == pytest.approx(expected, abs=1e-12)
        assert each.tar == np.mean(pair_distances(rows[0::2], rows[1::2])[issame] < each.distance)


def test_lines_and_numbers_of_a_training() -> None:
    distances, issame = make_distances(300)
    result = verify_distances("orl", distances, issame, 10, 1.0, [0.001, 0.1])
    (line,) = threshold_lines(result, 7)
    measured = result.thresholds[1]
    low, high = measured.distance_interval
    assert line.startswith(
        f"[orl][7]Threshold-Flip@FAR=0.1: distance {measured.distance:.4f} ({low:.4f} to {high:.4f})"
    )
    numbers = logged_numbers(result)
    assert numbers["cosine_at_far_0.1"] == measured.cosine and np.isnan(numbers["tar_at_far_0.001"])
