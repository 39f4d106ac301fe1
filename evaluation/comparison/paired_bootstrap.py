"""Differences between models on the same pairs, with paired bootstrap intervals.

All models are measured on the same resamples of the pairs, so what makes a pair hard for all of them cancels out. The
seed is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.far_thresholds import CONFIDENCE, Interval
from evaluation.pair_metrics import fold_slices

SAMPLES = 2000
_BLOCK = 64  # resamples held at once
_SEED = 0


@dataclass(frozen=True)
class Difference:
    """The value of one model minus that of another, with its interval; NaN if one was not measured."""

    value: float
    interval: Interval

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        low, high = self.interval
        return low > 0 or high < 0


def resample_accuracies(correct: np.ndarray, nrof_folds: int, samples: int = SAMPLES) -> np.ndarray:
    """Return the accuracies of resamples, float64 [S, M].

    The pairs are drawn within each fold, and accuracy is the mean over the folds, as in verification. The thresholds of
    the folds stay as they are.

    Args:
        correct: bool [M, N], whether pair n is right with model m.
        nrof_folds: the number of folds.
        samples: the number S of resamples.
    """
    rng = np.random.default_rng(_SEED)
    folds = fold_slices(correct.shape[1], nrof_folds)
    total = np.zeros((samples, len(correct)))
    for fold in folds:
        count = fold.stop - fold.start
        part = correct[:, fold].astype(np.float64).T
        for start in range(0, samples, _BLOCK):
            weights = _draw(rng, count, min(_BLOCK, samples - start))
            total[start : start + _BLOCK] += weights @ part / count
    return total / len(folds)


def resample_tars(distances: np.ndarray, issame: np.ndarray, far_target: float, samples: int = SAMPLES) -> np.ndarray:
    """Return TAR at the threshold for a FAR in resamples, float64 [S, M].

    Same and different pairs are drawn independently. Each model has its own threshold in each resample, the largest one
    with at most this FAR (``far_thresholds``).

    Args:
        distances: float64 [M, N], of pair n with model m.
        issame: bool [N]; both kinds must occur.
        far_target: the wanted FAR, at least 1 / different pairs.
        samples: the number S of resamples.
    """
    rng = np.random.default_rng(_SEED)
    same, different = distances[:, issame], distances[:, ~issame]
    accepted = int(np.floor(far_target * different.shape[1] * (1 + 1e-12)))
    order = np.argsort(different, axis=1)
    tars = np.empty((samples, len(distances)))
    for start in range(0, samples, _BLOCK):
        size = min(_BLOCK, samples - start)
        of_different = _draw(rng, different.shape[1], size)
        of_same = _draw(rng, same.shape[1], size)
        for model in range(len(distances)):
            counted = np.cumsum(of_different[:, order[model]], axis=1)
            places = np.argmax(counted > accepted, axis=1)  # the (accepted + 1)-th smallest of the resample
            thresholds = different[model][order[model][places]]
            below = same[model][None, :] < thresholds[:, None]
            tars[start : start + size, model] = (of_same * below).sum(axis=1) / same.shape[1]
    return tars


def difference(values: np.ndarray, samples: np.ndarray, first: int, second: int) -> Difference:
    """Return the difference of two models.

    Args:
        values: float64 [M], the measured values.
        samples: float64 [S, M], those of the resamples.
        first: the model whose value counts positively.
        second: the other one.
    """
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(samples[:, first] - samples[:, second], [outside, 1 - outside])
    return Difference(float(values[first] - values[second]), (float(low), float(high)))


def _draw(rng: np.random.Generator, count: int, samples: int) -> np.ndarray:
    """Return how often each of ``count`` items is drawn in each of ``samples`` resamples, float64 [S, count]."""
    drawn = rng.integers(0, count, (samples, count)) + count * np.arange(samples)[:, None]
    return np.bincount(drawn.ravel(), minlength=samples * count).reshape(samples, count).astype(np.float64)
