from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.intervals import Estimate, mean_interval, pair_interval, paired_interval


def test_the_interval_of_a_mean_is_that_of_the_t_table() -> None:
    # t(0.975; 4) = 2.776 and t(0.995; 4) = 4.604 in any table; the standard deviation of 1..5 is sqrt(2.5).
    found = mean_interval([1, 2, 3, 4, 5])
    assert found.mean == 3
    assert found.high - 3 == pytest.approx(2.776 * np.sqrt(2.5 / 5), abs=1e-3) and found.low == pytest.approx(
        6 - found.high
    )
    assert mean_interval([1, 2, 3, 4, 5], 0.99).high - 3 == pytest.approx(4.604 * np.sqrt(2.5 / 5), abs=1e-3)


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    found = mean_interval([0.9])
    assert found.mean == 0.9 and np.isnan([found.low, found.high]).all() and not found.is_clear
    with pytest.raises(ValueError):
        mean_interval([])


def test_paired_differences_are_those_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0.9, 0.03, 6)  # what both trainings of a seed share
    first, second = hard + 0.01 + rng.normal(0, 0.003, 6), hard + rng.normal(0, 0.003, 6)
    found = paired_interval(first, second)
    low, high = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high)) and found.is_clear
    with pytest.raises(ValueError, match="5 values cannot be paired with 6"):
        paired_interval(first[:5], second)


def test_an_interval_over_pairs_covers_the_difference_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(1), 0
    for _ in range(40):
        first, second = rng.random((2, 400)) < 0.9, rng.random((2, 400)) < 0.85
        found = pair_interval(first, second, 10)
        covered += found.low <= 0.05 <= found.high
        assert found.mean == pytest.approx(first.mean() - second.mean())
    assert covered >= 35  # 38 expected


def test_pairs_that_are_wrong_in_both_do_not_widen_the_interval() -> None:
    right = np.random.default_rng(2).random((3, 500)) < 0.8
    found = pair_interval(right, right, 10)
    assert found == Estimate(0, 0, 0)
