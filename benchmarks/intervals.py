"""Confidence intervals: of a mean over seeds, of paired differences, and of differences over resampled pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from evaluation.comparison.paired_bootstrap import resample_accuracies

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval; the ends are NaN where one value alone says nothing about the spread."""

    mean: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of independent ``values`` and Student's t interval of it.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("a mean of no values")
    sample = np.asarray(values, np.float64)
    mean, count = float(sample.mean()), len(sample)
    if count == 1:
        return Estimate(mean, float("nan"), float("nan"))
    half = float(student.ppf((1 + confidence) / 2, count - 1) * sample.std(ddof=1) / np.sqrt(count))
    return Estimate(mean, mean - half, mean + half)


def paired_interval(first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of ``first`` minus ``second``, paired by place (the same seed), and its t interval.

    Raises:
        ValueError: the lengths differ, or there are no values.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values cannot be paired with {len(second)}")
    return mean_interval(np.subtract(first, second), confidence)


def pair_interval(first: np.ndarray, second: np.ndarray, folds: int, confidence: float = CONFIDENCE) -> Estimate:
    """Return the difference of mean accuracies and its interval over resamples of the verification pairs.

    It says how far the difference depends on which pairs were drawn, for these very trainings; the t interval says how
    far it depends on the seed, for these very pairs.

    Args:
        first: bool [S, N], whether pair n is right in the training of seed s.
        second: the same of the other kind of training, with the same pairs.
        folds: the folds of the verification, within which pairs are drawn.
        confidence: the share of resamples inside the interval.
    """
    samples = resample_accuracies(np.concatenate([first, second]), folds)
    differences = samples[:, : len(first)].mean(axis=1) - samples[:, len(first) :].mean(axis=1)
    outside = (1 - confidence) / 2
    low, high = np.quantile(differences, [outside, 1 - outside])
    return Estimate(float(first.mean() - second.mean()), float(low), float(high))
