"""Compare learning rates by short trainings from one start. Needs no framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from engine.schedule import Plan, lr_scale

COARSE, FINE = 2, 1  # steps of the search, as powers of 2
_WARM_UP = 1 / 10  # of the steps
_JUDGED = 1 / 10  # of the steps, the last ones: the usual schedules have fallen by then


class TrialSchedule(NamedTuple):
    """How the rate of a trial moves.

    Attributes:
        factors: on the rate, of each step.
        about: the line that says so.
    """

    factors: list[float]
    about: str


def trial_schedule(plan: Plan, config: Mapping[str, Any], steps: int) -> TrialSchedule:
    """Return the schedule of a new run, compressed to a trial of ``steps`` steps, or of as many as the run has.

    A warm-up whose share of the trial is less than a tenth has as many steps as in the run, but at most this tenth:
    what it protects from are the first steps, however long the run is. Where the rate would fall before the trial has
    taken a step, the run's length says nothing, and the trial warms up for a tenth and falls linearly.

    Args:
        plan: of the run, from its first step.
        config: its settings.
        steps: how many a trial takes at most.
    """
    total = plan.total_steps
    steps = min(steps, total)
    tenth, share = round(_WARM_UP * steps), steps / total
    falls = [round(step * share) for step in config["lr_steps"]] if config["lr_schedule"] == "step" else []
    if 0 in falls and config["lr_steps"][0] > 0:
        first = config["lr_steps"][0]
        return TrialSchedule(
            _linear(steps),
            f"the rate falls after {first} of {total} steps, too early for a trial: each trial falls linearly over "
            f"{steps} steps; give the length that the run will have (--train_iter, --max_steps or --end_epoch)",
        )
    warm = max(round(plan.warmup_steps * share), min(plan.warmup_steps, tenth))
    short = replace(plan, total_steps=steps, warmup_steps=min(warm, steps - 1))
    settings = {**config, "lr_steps": falls}
    return TrialSchedule(
        [lr_scale(step, short, settings) for step in range(steps)],
        f"each trial follows the schedule of the run, {total} steps in {steps}",
    )


def _linear(steps: int) -> list[float]:
    warm = max(1, round(_WARM_UP * steps))
    return [min((step + 1) / warm, (steps - step) / max(1, steps - warm)) for step in range(steps)]


def score_trial(losses: Sequence[float], steps: int) -> float:
    """Return the mean loss over the last tenth of a trial; infinite if it ended before its last step."""
    count = max(1, round(_JUDGED * steps))
    return sum(losses[-count:]) / count if len(losses) == steps else math.inf


def search_rates(start: float, lowest: float, highest: float, score: Callable[[float], float]) -> dict[float, float]:
    """Return the score of each rate that was tried, in the order of the trials; the smallest score is the best.

    Beginning with ``start``, tries the rates four times above and below the best one until that is better than both,
    then those twice above and below. A rate that fails has an infinite score; of equal scores the smaller rate counts.

    Args:
        start: the first rate.
        lowest: no rate below it is tried.
        highest: no rate above it is tried.
        score: trains at a rate.
    """
    scores: dict[int, float] = {}
    rates: dict[int, float] = {}

    def attempt(power: int) -> None:
        rate = float(f"{start * 2.0**power:.2g}")
        if power not in rates and (power == 0 or lowest <= rate <= highest):
            rates[power] = rate
            scores[power] = score(rate)

    attempt(0)
    for distance in (COARSE, FINE):
        tried = 0
        while tried < len(rates):
            tried = len(rates)
            best = min(scores, key=lambda power: (scores[power], power))
            attempt(best + distance)
            attempt(best - distance)
    return {rates[power]: value for power, value in scores.items()}
