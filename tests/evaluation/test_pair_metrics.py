"""The vectorised numbers against plain loops over folds and thresholds, scipy's interpolation and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline, interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold

from evaluation.pair_metrics import (
    far_threshold,
    fold_accuracies,
    fold_slices,
    fold_validation_rates,
    mean_and_std,
    roc,
)


def loop_accuracies(distances, issame, nrof_folds):
    accuracies, chosen = [], []
    for train, test in KFold(nrof_folds).split(distances):
        best_threshold, best_accuracy = None, -1.0
        for threshold in np.arange(0, 4, 0.01):
            accuracy = np.mean((distances[train] < threshold) == issame[train])
            if accuracy > best_accuracy:
                best_threshold, best_accuracy = threshold, accuracy
        accuracies.append(np.mean((distances[test] < best_threshold) == issame[test]))
        chosen.append(best_threshold)
    return np.array(accuracies), np.array(chosen)


def loop_validation_rates(distances, issame, nrof_folds, far_target):
    thresholds = np.arange(0, 4, 0.001)
    vals, fars = [], []
    for train, test in KFold(nrof_folds).split(distances):
        different = distances[train][~issame[train]]
        far = np.array([np.mean(different < threshold) for threshold in thresholds])
        threshold = 0.0
        if far.max() >= far_target:
            # the linear spline that interp1d(kind='slinear') evaluates, without its newer refusal of repeated rates
            threshold = float(BSpline.construct_fast(np.r_[far[0], far, far[-1]], thresholds, 1)(far_target))
        vals.append(np.mean(distances[test][issame[test]] < threshold))
        fars.append(np.mean(distances[test][~issame[test]] < threshold))
    return np.array(vals), np.array(fars)


def separable(rng, issame):
    return np.where(issame, rng.uniform(0.1, 0.9, issame.size), rng.uniform(1.5, 3.5, issame.size))


def random(rng, issame):
    return rng.uniform(0, 4, issame.size)


def overlapping(rng, issame):
    return np.clip(np.where(issame, rng.normal(1.0, 0.4, issame.size), rng.normal(1.9, 0.4, issame.size)), 0, 4)


def on_thresholds(rng, issame):
    """Many ties, and every distance equal to a threshold."""
    return np.arange(0, 4, 0.01)[np.clip(100 * overlapping(rng, issame), 0, 399).astype(int)]


def few_values(rng, issame):
    return rng.choice([0.0, 0.5, 0.7777, 2.0, 4.0], issame.size)


def out_of_reach(rng, issame):
    """Every different pair farther than the last threshold."""
    return np.where(issame, 1.0, 4.0)


KINDS = [separable, random, overlapping, on_thresholds, few_values, out_of_reach]


def make_set(kind, pairs=260, seed=0):
    rng = np.random.default_rng(seed)
    issame = rng.permutation(np.arange(pairs) % 2 == 0)
    return kind(rng, issame), issame


@pytest.mark.parametrize("nrof_folds", [10, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_accuracies_equal_plain_loops(kind, nrof_folds):
    distances, issame = make_set(kind)
    accuracies, thresholds = fold_accuracies(distances, issame, fold_slices(len(issame), nrof_folds))
    expected_accuracies, expected_thresholds = loop_accuracies(distances, issame, nrof_folds)
    assert_array_equal(thresholds, expected_thresholds)
    assert_allclose(accuracies, expected_accuracies, rtol=1e-15)


@pytest.mark.parametrize("far_target", [1e-3, 0.05])
@pytest.mark.parametrize("kind", KINDS)
def test_validation_rates_equal_plain_loops(kind, far_target):
    distances, issame = make_set(kind)
    val, far = fold_validation_rates(distances, issame, fold_slices(len(issame), 5), far_target)
    expected_val, expected_far = loop_validation_rates(distances, issame, 5, far_target)
    assert_allclose(val, expected_val, rtol=1e-15)
    assert_allclose(far, expected_far, rtol=1e-15)


@pytest.mark.parametrize("pairs", [10, 19, 60, 61, 6000])
@pytest.mark.parametrize("nrof_folds", [2, 7, 10])
def test_folds_are_those_of_kfold(pairs, nrof_folds):
    ours = [np.arange(pairs)[fold] for fold in fold_slices(pairs, nrof_folds)]
    theirs = [test for _, test in KFold(nrof_folds, shuffle=False).split(np.empty(pairs))]
    assert len(ours) == len(theirs)
    for our_fold, their_fold in zip(ours, theirs, strict=True):
        assert_array_equal(our_fold, their_fold)


def test_a_distance_equal_to_the_threshold_is_different():
    threshold = np.arange(0, 4, 0.01)[100]
    distances = np.full(4, threshold)
    accuracies, thresholds = fold_accuracies(distances, np.ones(4, bool), fold_slices(4, 2))
    assert_array_equal(accuracies, [1, 1])
    assert_array_equal(thresholds, np.full(2, np.arange(0, 4, 0.01)[101]))


def test_the_first_of_equally_good_thresholds_is_taken():
    distances = np.array([0.5, 2.5] * 4)
    accuracies, thresholds = fold_accuracies(distances, distances < 1, fold_slices(8, 4))
    assert_allclose(thresholds, np.full(4, 0.51), rtol=1e-12)
    assert_array_equal(accuracies, np.ones(4))


def test_the_threshold_comes_from_the_other_folds():
    """Fold 0 alone would like a threshold of 3; the others choose 0.11 and fail it."""
    distances = np.array([2.9, 2.9, 0.1, 1.0, 0.1, 1.0])
    issame = np.array([True, True, True, False, True, False])
    accuracies, thresholds = fold_accuracies(distances, issame, fold_slices(6, 3))
    assert thresholds[0] == pytest.approx(0.11)
    assert accuracies[0] == 0


def test_pairs_in_another_order_give_other_folds():
    distances, issame = make_set(overlapping)
    order = np.argsort(distances)
    folds = fold_slices(len(issame), 10)
    in_file_order, _ = fold_accuracies(distances, issame, folds)
    sorted_order, _ = fold_accuracies(distances[order], issame[order], folds)
    assert not np.array_equal(in_file_order, sorted_order)


def test_far_threshold_is_scipys_where_rates_are_distinct():
    rng = np.random.default_rng(3)
    rates = np.sort(rng.uniform(0, 1, 50))
    rates[0] = 0
    thresholds = np.arange(50) * 0.001
    for target in [*rng.uniform(0, rates[-1], 20), rates[7], rates[-1]]:
        expected = interp1d(rates, thresholds, kind="slinear")(target)
        assert far_threshold(rates, thresholds, target) == pytest.approx(float(expected), rel=1e-12)


def test_far_threshold_takes_the_last_of_repeated_rates():
    rates = np.array([0, 0, 0, 0.25, 0.25, 0.25, 0.5, 1, 1])
    thresholds = np.arange(9.0)
    spline = BSpline.construct_fast(np.r_[rates[0], rates, rates[-1]], thresholds, 1)
    for target, expected in [(0, 2), (0.05, 2.2), (0.25, 5), (0.375, 5.5)]:
        assert far_threshold(rates, thresholds, target) == pytest.approx(expected)
        assert float(spline(target)) == pytest.approx(expected)
    assert far_threshold(rates / 2, thresholds, 0.6) == 0
    assert far_threshold(rates / 2, thresholds, 0.5) == 8


def test_what_cannot_be_measured_is_nan():
    """Fold 0 has only same pairs and fold 1 only different ones."""
    issame = np.array([True, True, False, False])
    distances = np.array([0.2, 0.3, 1.0, 2.0])
    with np.errstate(all="raise"):
        val, far = fold_validation_rates(distances, issame, fold_slices(4, 2), 1e-3)
        # fold 0 trains on fold 1; fold 1 trains on same pairs alone and has no FAR to aim at
        assert_array_equal(val, [1, np.nan])
        assert_array_equal(far, [np.nan, np.nan])
        assert mean_and_std(val) == (1, 0)
        assert np.isnan(mean_and_std(far)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_roc_against_counts_and_rank_statistics(kind):
    distances, issame = make_set(kind)
    fpr, tpr, auc, eer = roc(distances, issame)
    for index, value in enumerate(np.unique(distances), start=1):
        assert fpr[index] == np.mean(distances[~issame] <= value)
        assert tpr[index] == np.mean(distances[issame] <= value)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    same, different = distances[issame][:, None], distances[~issame][None]
    assert auc == pytest.approx(np.mean(same < different) + 0.5 * np.mean(same == different), abs=1e-12)
    assert auc == pytest.approx(roc_auc_score(issame, -distances), abs=1e-12)
    false_reject_minus_accept = interp1d(tpr + fpr, 1 - tpr - fpr)
    meeting = brentq(false_reject_minus_accept, 0, 2, xtol=1e-13)
    assert eer == pytest.approx(float(interp1d(tpr + fpr, fpr)(meeting)), abs=1e-9)


@pytest.mark.parametrize("label", [True, False])
def test_roc_of_one_kind_of_pairs_is_empty(label):
    fpr, tpr, auc, eer = roc(np.arange(5.0), np.full(5, label))
    assert fpr.size == tpr.size == 0
    assert np.isnan([auc, eer]).all()
