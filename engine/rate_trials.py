"""Compare learning rates by short trainings from one start. Needs no framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

COARSE, FINE = 2, 1  # steps of the search, as powers of 2
_WARM_UP = 1 / 10  # of the steps
_JUDGED = 1 / 5  # of the steps, the last ones


def trial_rates(rate: float, steps: int) -> list[float]:
    """Return the rate of each step of a trial: a tenth of them warms up, then it falls linearly towards 0."""
    warm = max(1, round(_WARM_UP * steps))
    return [rate * min((step + 1) / warm, (steps - step) / (steps - warm)) for step in range(steps)]


def score_trial(losses: Sequence[float], steps: int) -> float:
    """Return the mean loss over the last fifth of a trial; infinite if it ended before its last step."""
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
