from __future__ import annotations

import math

import numpy as np
import pytest

from engine.rate_trials import score_trial, search_rates, trial_rates


def test_a_trial_warms_up_and_falls() -> None:
    np.testing.assert_allclose(trial_rates(0.2, 20), 0.2 * np.array([0.5, 1, *(np.arange(18, 0, -1) / 18)]), rtol=1e-12)
    assert len(trial_rates(1, 20)) == 20 and max(trial_rates(0.2, 60)) == 0.2 and min(trial_rates(0.2, 60)) > 0


def test_the_end_of_a_trial_is_judged() -> None:
    assert score_trial([9.0] * 16 + [1, 2, 3, 4], 20) == 2.5
    assert score_trial([1.0] * 19, 20) == math.inf


@pytest.mark.parametrize("best", [0.00031, 0.004, 0.02, 0.11, 1.4])
@pytest.mark.parametrize("start", [0.0003, 0.012, 0.4])
def test_the_search_ends_within_half_a_doubling_of_the_best(best: float, start: float) -> None:
    tried: list[float] = []

    def score(rate: float) -> float:
        tried.append(rate)
        return abs(math.log2(rate / best)) if rate < 8 * best else math.inf

    scores = search_rates(start, 1e-4, 3, score)
    found = min(scores, key=scores.get)
    assert abs(math.log2(found / best)) < 0.55
    assert list(scores) == tried and len(set(tried)) == len(tried) <= 12
    assert all(1e-4 <= rate <= 3 and rate == float(f"{rate:.2g}") for rate in tried)


def test_the_search_stays_in_its_range_and_leaves_rates_that_diverge_downwards() -> None:
    assert min(search_rates(0.01, 0.005, 0.1, lambda rate: rate)) == 0.005
    assert max(search_rates(0.01, 0.005, 0.1, lambda rate: -rate)) == 0.08
    scores = search_rates(0.8, 1e-3, 3, lambda rate: math.inf if rate > 0.004 else rate)
    assert min(scores, key=scores.get) <= 0.004
    assert search_rates(5, 1e-3, 3, lambda rate: math.inf)[5] == math.inf
