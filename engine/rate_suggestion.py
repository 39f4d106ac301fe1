"""Suggest the rate at which trials begin, from the losses of a sweep. Needs no framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from common.errors import UserError

FRACTION = 0.2  # of the rate where the loss begins to rise
FEWEST = 20  # steps that tell a slope from noise
_WIDTH = 1 / 40  # standard deviation of the smoothing, as a share of the steps
_CLEAR = 6.0  # how often the noise of the smoothed losses a fall must be


@dataclass(frozen=True)
class Suggestion:
    """What a sweep says.

    Attributes:
        rate: the suggested learning rate, two digits.
        steepest: the rate at which the loss falls fastest.
        turning: the rate at which it is lowest, and begins to rise.
        smoothed: the smoothed losses.
    """

    rate: float
    steepest: float
    turning: float
    smoothed: np.ndarray


def sweep_rates(lowest: float, highest: float, steps: int) -> np.ndarray:
    """Return the rate of each step, float64 [steps]: each is the one before times the same factor."""
    return np.geomspace(lowest, highest, steps)


def smooth(losses: Sequence[float]) -> np.ndarray:
    """Return the losses smoothed over the neighbouring steps on both sides, float64 [N].

    A moving average of earlier steps alone would show each fall and rise at too large a rate.
    """
    values, sigma = np.asarray(losses, np.float64), _sigma(len(losses))
    sums, weights = (gaussian_filter1d(each, sigma, mode="constant") for each in (values, np.ones_like(values)))
    return sums / weights


def _sigma(steps: int) -> float:
    return max(1.0, _WIDTH * steps)


def suggest_rate(rates: Sequence[float], losses: Sequence[float]) -> Suggestion:
    """Suggest a rate from the loss of each step of a sweep.

    A margin softmax loss falls slowly over several decades of rates, then quickly, turns and rises. Where it turns, the
    network still learns, but a whole training at that rate does not; a fifth of it is suggested, or the rate of the
    steepest fall if that is smaller. This is the right power of ten at best: of a set that has fewer images than the
    sweep takes, the loss also falls where the second epoch begins, whatever the rate is there, and the loss of weights
    that are normalised need not rise at all. So ``engine.rate_trials`` goes on from here.

    Raises:
        UserError: there are too few steps, or the loss does not fall.
    """
    if len(losses) < FEWEST:
        raise UserError(
            f"the loss stopped being finite after {len(losses)} steps, too few to suggest a rate; use a smaller "
            "--lowest, or --clip_gradient 5"
        )
    smoothed = smooth(losses)
    place = int(np.argmin(smoothed))
    fall = smoothed[: place + 1].max() - smoothed[place]
    noise = float(np.std(np.asarray(losses) - smoothed)) / np.sqrt(2 * np.sqrt(np.pi) * _sigma(len(losses)))
    if place == 0 or fall <= _CLEAR * noise:
        raise UserError(
            f"the loss does not fall between the rates {rates[0]:g} and {rates[len(losses) - 1]:g}; use another "
            "--lowest and --highest, or more --sweep_steps"
        )
    slope = np.gradient(smoothed[: place + 1])
    steepest, turning = float(rates[int(np.argmin(slope))]), float(rates[place])
    rate = float(f"{min(steepest, FRACTION * turning):.1e}")
    return Suggestion(rate, steepest, turning, smoothed)
