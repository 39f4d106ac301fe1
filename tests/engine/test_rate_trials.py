from __future__ import annotations

import math

import numpy as np
import pytest

from engine.rate_trials import score_trial, search_rates, trial_schedule
from engine.schedule import Plan, lr_scale, make_plan

STEPS = {"lr_schedule": "step", "lr_steps": [180, 255], "scales": [0.1, 0.01], "lr_power": 1.0}
LENGTHS = {
    "train_batch_size": 10,
    "train_unit": "batch",
    "train_iter": 300,
    "max_steps": 0,
    "end_epoch": 0,
    "iter_num_in_snapshot": 0,
    "validation_interval": 1,
    "warmup_steps": 0,
    "warmup_epochs": 0,
}


def factors_of(steps: int, **changes: object) -> list[float]:
    config = STEPS | LENGTHS | changes
    return trial_schedule(make_plan(config, 300), config, steps).factors


def test_a_trial_follows_the_steps_of_the_run() -> None:
    assert factors_of(60) == pytest.approx([1.0] * 36 + [0.1] * 15 + [0.01] * 9)
    assert factors_of(60, lr_steps=[261], scales=[0.1]) == pytest.approx([1.0] * 52 + [0.1] * 8)


def test_a_rate_that_does_not_fall_in_the_run_does_not_fall_in_a_trial() -> None:
    assert factors_of(60, lr_steps=[], scales=[]) == factors_of(60, lr_steps=[400], scales=[0.1]) == [1.0] * 60


@pytest.mark.parametrize("length", [{"train_unit": "epoch", "train_iter": 10}, {"end_epoch": 10}, {"max_steps": 300}])
def test_the_length_may_be_given_in_epochs_or_steps(length: dict[str, object]) -> None:
    assert factors_of(60, **({"train_iter": 10**6} | length)) == factors_of(60)


@pytest.mark.parametrize(("name", "power"), [("poly", 2.0), ("cosine", 1.0)])
def test_a_trial_follows_a_smooth_schedule_and_its_warm_up(name: str, power: float) -> None:
    changes = {"lr_schedule": name, "lr_power": power, "warmup_epochs": 1}
    config = STEPS | LENGTHS | changes
    run = [lr_scale(step, make_plan(config, 300), config) for step in range(300)]
    found = factors_of(60, **changes)
    np.testing.assert_allclose(found[:6], np.arange(1, 7) / 6)
    np.testing.assert_allclose(found[6:], run[30::5])


def test_a_short_warm_up_keeps_its_steps_up_to_a_tenth() -> None:
    for warm, expected in ((0, 0), (2, 2), (25, 6), (90, 18)):
        assert np.argmax(factors_of(60, warmup_steps=warm)) == max(0, expected - 1)


def test_a_run_that_is_shorter_than_a_trial_is_taken_as_it_is() -> None:
    config = STEPS | LENGTHS | {"train_iter": 20, "lr_steps": [15], "scales": [0.1], "warmup_steps": 4}
    plan = make_plan(config, 300)
    assert trial_schedule(plan, config, 60).factors == [lr_scale(step, plan, config) for step in range(20)]
    assert len(factors_of(60, train_iter=1)) == 1


def test_without_a_usable_length_a_trial_warms_up_and_falls() -> None:
    found = trial_schedule(Plan(30, 10**6, 0, 1), STEPS, 20)
    np.testing.assert_allclose(found.factors, [0.5, 1, *(np.arange(18, 0, -1) / 18)])
    assert "falls after 180 of 1000000 steps, too early" in found.about and "--train_iter" in found.about
    assert "300 steps in 60" in trial_schedule(Plan(30, 300, 0, 1), STEPS, 60).about


def test_the_end_of_a_trial_is_judged() -> None:
    assert score_trial([9.0] * 18 + [1, 4], 20) == 2.5
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
