"""The ROC points are scikit-learn's, and what is reported at a rate is defined as it says."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from evaluation.templates.roc_points import operating_points, roc_points, sort_scores


def test_the_points_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for case in range(400):
        count = int(rng.integers(2, 60))
        ties = rng.integers(0, rng.integers(1, 80), count) / 7
        scores = (ties, rng.standard_normal(count), np.round(rng.standard_normal(count), 1))[case % 3]
        same = rng.random(count) < rng.random()
        if same.all() or not same.any():
            continue
        curve = roc_points(sort_scores(scores, same, num_threads=1 + case % 2))
        fpr, tpr, thresholds = roc_curve(same, scores)
        assert np.array_equal(curve.fpr, fpr) and np.array_equal(curve.tpr, tpr)
        assert np.array_equal(curve.thresholds, thresholds)
        compared += 1
    assert compared > 300


def test_large() -> None:
    rng = np.random.default_rng(1)
    same = rng.random(200_000) < 0.01
    scores = rng.standard_normal(len(same)) + 2.5 * same
    scores[::5] = np.round(scores[::5], 3)
    curve = roc_points(sort_scores(scores, same))
    fpr, tpr, _ = roc_curve(same, scores)
    assert np.array_equal(curve.fpr, fpr) and np.array_equal(curve.tpr, tpr)
    assert (curve.same_pairs, curve.different_pairs) == (same.sum(), (~same).sum())


def test_dropped_points_move_the_number_at_a_rate() -> None:
    """Ten false accepts lie between two true ones: only the ends of the run are points, and 0.4 is nearer to 0 than
    to 1, so that the reported TPR is that at FPR 0. Plain interpolation runs along the line, which is level here."""
    scores = np.r_[12.0, np.arange(11, 1, -1), 1.0]
    same = np.r_[True, np.zeros(10, bool), True]
    sorted_scores = sort_scores(scores, same)
    curve = roc_points(sorted_scores)
    assert list(zip(curve.fpr, curve.tpr, strict=True)) == [(0, 0), (0, 0.5), (1, 0.5), (1, 1)]
    (below, above) = operating_points(curve, sorted_scores, [0.4, 0.6])
    assert (below.fpr, below.tpr, below.tpr_within, below.tpr_interpolated) == (0, 0.5, 0.5, 0.5)
    assert (above.fpr, above.tpr, above.tpr_within, above.tpr_interpolated) == (1, 1, 0.5, 0.5)


def test_of_two_points_as_near_the_larger_rate_counts() -> None:
    scores, same = np.array([9.0, 8, 7, 6, 5, 4]), np.array([0, 1, 0, 1, 0, 1], bool)
    sorted_scores = sort_scores(scores, same)
    curve = roc_points(sorted_scores)
    (point,) = operating_points(curve, sorted_scores, [0.5])
    fpr, tpr, _ = roc_curve(same, scores)
    nearest = np.argmin(abs(fpr[::-1] - 0.5))
    assert (point.fpr, point.tpr) == (fpr[::-1][nearest], tpr[::-1][nearest])


def test_a_rate_out_of_reach() -> None:
    rng = np.random.default_rng(2)
    same = np.arange(110) < 10
    scores = rng.standard_normal(110) + 2 * same
    sorted_scores = sort_scores(scores, same)
    points = operating_points(roc_points(sorted_scores), sorted_scores, [1e-3, 1e-2, 0.3])
    assert [point.reachable for point in points] == [False, True, True]
    assert points[0].fpr == 0 and points[0].tpr == np.mean(scores[same] > scores[~same].max())
    for point in points:
        allowed = int(round(point.fpr_target * 100, 9))
        limit = np.sort(scores[~same])[99 - allowed]
        assert point.tpr_within == pytest.approx(np.mean(scores[same] > limit))
