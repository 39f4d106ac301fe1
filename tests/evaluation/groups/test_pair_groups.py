"""Groups against plain loops over pairs in float64."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import UserError
from evaluation.groups.group_table import describe_groups, format_groups
from evaluation.groups.pair_groups import GroupPairs, compare_groups, error_ratio, spread
from evaluation.similarity import normalize_rows
from evaluation.verification import verify_distances

NAMES = ("north", "south", "nobody")


@pytest.fixture
def pairs() -> GroupPairs:
    """500 pairs of two groups, in ties; a third group has only pairs of two people."""
    rng = np.random.default_rng(5)
    issame = rng.random(500) < 0.5
    first = rng.integers(0, 2, 500)
    second = np.where(rng.random(500) < 0.7, first, 1 - first)
    chosen = np.flatnonzero(~issame)[:20]
    first[chosen] = second[chosen] = 2
    distances = np.round(np.where(issame, 0.9, 1.5) + 0.4 * rng.normal(size=500), 2).clip(0, 4)
    result = verify_distances("set", distances, issame, 10, 1.0)
    return GroupPairs.of(result, issame, first, second)


def loop(pairs: GroupPairs, far_target: float) -> dict:
    """Count pair by pair."""
    different = sorted(pairs.distances[~pairs.issame])
    threshold = different[int(far_target * len(different) + 1e-9)]
    same, right, total, accepted = ({} for _ in range(4))
    accepts, compared = np.zeros((3, 3), int), np.zeros((3, 3), int)
    for number, distance in enumerate(pairs.distances):
        groups = sorted((pairs.first[number], pairs.second[number]))
        if groups[0] == groups[1]:
            total[groups[0]] = total.get(groups[0], 0) + 1
            right[groups[0]] = right.get(groups[0], 0) + pairs.correct[number]
            if pairs.issame[number]:
                same[groups[0]] = same.get(groups[0], 0) + 1
                accepted[groups[0]] = accepted.get(groups[0], 0) + (distance < threshold)
        if not pairs.issame[number]:
            for place in {tuple(groups), tuple(groups[::-1])}:
                compared[place] += 1
                accepts[place] += distance < threshold
    tar = [accepted[group] / same[group] if group in same else np.nan for group in range(3)]
    accuracy = [right[group] / total[group] for group in range(3)]
    return {"threshold": threshold, "tar": tar, "accuracy": accuracy, "accepts": accepts, "compared": compared}


@pytest.mark.parametrize("far_target", [0.05, 0.2])
def test_groups_against_a_loop(pairs, far_target):
    report = compare_groups(NAMES, pairs, [1e-4, far_target])
    expected = loop(pairs, far_target)
    (rates,) = report.rates  # 0.0001 is out of reach
    assert rates.threshold.distance == expected["threshold"]
    np.testing.assert_array_equal(rates.tar, expected["tar"])
    np.testing.assert_array_equal(report.accuracy, expected["accuracy"])
    np.testing.assert_array_equal(rates.false_accepts, expected["accepts"])
    np.testing.assert_array_equal(rates.compared, expected["compared"])
    assert report.mixed_same == sum(pairs.issame & (pairs.first != pairs.second)) > 0
    assert report.same[2] == 0 and np.isnan(rates.tar[2])


def test_images_of_different_sets_are_all_compared(pairs):
    rng = np.random.default_rng(1)
    rows = {0: rng.normal(size=(2100, 6)), 1: rng.normal(size=(30, 6)), 2: rng.normal(size=(5, 6))}
    inside = GroupPairs(pairs.distances, pairs.issame, pairs.first, pairs.first, pairs.correct)
    report = compare_groups(NAMES, inside, [0.1], images=rows, accuracy=[0.9, 0.8, 0.7])
    (rates,) = report.rates
    unit = {group: normalize_rows(each) for group, each in rows.items()}
    for first, second in ((0, 1), (0, 2), (1, 2)):
        distances = ((unit[first][:, None] - unit[second][None]) ** 2).sum(axis=2)
        assert rates.false_accepts[first, second] == np.count_nonzero(distances < rates.threshold.distance) > 0
        assert rates.false_accepts[second, first] == rates.false_accepts[first, second]
        assert rates.compared[first, second] == distances.size
    alone = compare_groups(NAMES, inside, [0.1]).rates[0]
    np.testing.assert_array_equal(np.diag(rates.false_accepts), np.diag(alone.false_accepts))
    assert report.accuracy.tolist() == [0.9, 0.8, 0.7]


def test_ties_with_the_threshold_across_sets_are_rejected():
    """Cosines that float32 cannot tell from the threshold are decided in float64."""
    angle = np.arccos(0.5)
    turned = angle + np.array([-1e-9, 1e-9])
    rows = {0: np.array([[1.0, 0.0]]), 1: np.stack([np.cos(turned), np.sin(turned)], axis=1)}
    distances = np.array([1.0, 2.0, 3.0, 0.1])
    pairs = GroupPairs(distances, np.array([0, 0, 0, 1], bool), *np.zeros((2, 4), int), np.ones(4, bool))
    pairs = GroupPairs(np.array([0.5, 1.0, 2.0, 0.1]), pairs.issame, pairs.first, pairs.second, pairs.correct)
    (rates,) = compare_groups(["a", "b"], pairs, [0.4], images=rows).rates
    assert rates.threshold.distance == 1.0 and rates.false_accepts[0, 1] == 1


def test_pairs_near_many_thresholds_are_counted_once(pairs):
    rng = np.random.default_rng(2)
    rows = {group: normalize_rows(rng.normal(size=(2200, 3))) for group in (0, 1)}
    inside = GroupPairs(rng.uniform(0.5, 1.5, 500), pairs.issame, pairs.first, pairs.first, pairs.correct)
    rates = compare_groups(NAMES, inside, [number / 50 for number in range(1, 40)], images=rows).rates
    distances = np.sort(sum((rows[0][:, None, axis] - rows[1][None, :, axis]) ** 2 for axis in range(3)), axis=None)
    expected = [np.searchsorted(distances, each.threshold.distance) for each in rates]
    assert [each.false_accepts[0, 1] for each in rates] == expected and len(expected) == 39


def test_spread_and_ratio():
    assert spread(np.array([0.9, np.nan, 0.7])) == pytest.approx((0.2, 0.1))
    assert np.isnan(spread(np.array([np.nan]))).all()
    assert error_ratio(np.array([0.9, 0.7, np.nan])) == pytest.approx(3)
    assert error_ratio(np.array([1.0, 0.9])) == np.inf and error_ratio(np.array([1.0, 1.0])) == 1
    assert np.isnan(error_ratio(np.array([np.nan])))


def test_tables_and_json_have_the_numbers(pairs):
    report = compare_groups(NAMES, pairs, [0.05])
    text, document = format_groups(report), describe_groups(report)
    row = next(line.split() for line in text.splitlines() if line.startswith("south"))
    assert row[1:4] == [str(report.same[1]), str(report.different[1]), f"{100 * report.accuracy[1]:.2f}"]
    assert document["groups"]["south"]["accuracy"] == report.accuracy[1]
    rates = document["rates"][0]
    assert rates["false_accepts"]["north"]["south"] == report.rates[0].false_accepts[0, 1]
    assert rates["tar"]["nobody"] is None and rates["cosine"] == report.rates[0].threshold.cosine
    assert f"{report.mixed_same} pairs of one person are in two groups" in text


def test_one_group_is_not_a_comparison(pairs):
    with pytest.raises(UserError, match="only the group all has images"):
        compare_groups(["all"], pairs, [0.1])
