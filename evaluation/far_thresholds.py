"""Thresholds for wanted false accept rates, from all pairs of a set, with bootstrap confidence intervals.

A pair is accepted as one person if its distance is strictly below the threshold. The threshold for a wanted FAR is the
largest one whose measured FAR does not exceed it: with n different pairs and k = floor(FAR * n), the (k+1)-th smallest
of their distances. With k = 0 the set is too small to measure this FAR, and there is no threshold.

Unlike VAL, which follows InsightFace and averages over folds, these are thresholds to use elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.similarity import cosine_of_distance

FAR_TARGETS = (1e-4, 1e-3, 1e-2)
CONFIDENCE = 0.95
BOOTSTRAP_SAMPLES = 10_000
_SEED = 0

Interval = tuple[float, float]
UNKNOWN: Interval = (float("nan"), float("nan"))


@dataclass(frozen=True)
class FarThreshold:
    """The threshold for one wanted FAR. Numbers are NaN if the set has too few different (or no same) pairs.

    Attributes:
        far_target: the wanted FAR.
        mirrored: whether it holds for f(image) + f(mirrored image), or for f(image) alone.
        distance: squared L2 distance of unit vectors, 0 to 4; smaller distances are accepted.
        distance_interval: its 95 % interval.
        far: the false accept rate measured at the threshold, at most ``far_target``.
        tar: the share of same pairs that are accepted.
        tar_interval: its 95 % interval; the threshold varies with the different pairs.
    """

    far_target: float
    mirrored: bool
    distance: float
    distance_interval: Interval
    far: float
    tar: float
    tar_interval: Interval

    @property
    def cosine(self) -> float:
        """The threshold as a cosine similarity; larger ones are accepted."""
        return cosine_of_distance(self.distance)

    @property
    def cosine_interval(self) -> Interval:
        """The interval of the cosine similarity."""
        low, high = self.distance_interval
        return cosine_of_distance(high), cosine_of_distance(low)

    @property
    def is_measured(self) -> bool:
        """Whether the set is large enough for this FAR."""
        return bool(np.isfinite(self.distance))


def find_thresholds(
    distances: np.ndarray, issame: np.ndarray, far_targets: Sequence[float] = FAR_TARGETS, mirrored: bool = True
) -> tuple[FarThreshold, ...]:
    """Return the threshold for each of ``far_targets``, in their order.

    Args:
        distances: squared distances of all pairs, float64 [N].
        issame: bool [N].
        far_targets: wanted false accept rates, each above 0 and below 1.
        mirrored: which embedding the distances belong to.
    """
    same, different = np.sort(distances[issame]), np.sort(distances[~issame])
    return tuple(_find_threshold(same, different, target, mirrored) for target in far_targets)


def _find_threshold(same: np.ndarray, different: np.ndarray, target: float, mirrored: bool) -> FarThreshold:
    """Return the threshold from sorted distances.

    The bootstrap resamples same and different pairs independently. It draws what the resamples are needed for, not
    the resamples: a resample's (k+1)-th smallest value is the one at rank floor(n * u), with u the (k+1)-th smallest of
    n uniform numbers, which has the distribution Beta(k + 1, n - k); and of m resampled same pairs a
    Binomial(m, share below the threshold) number is accepted.
    """
    nan, count = float("nan"), len(different)
    accepted = int(np.floor(target * count * (1 + 1e-12)))  # 0.07 * 100 is 7.000000000000001, 0.29 * 100 is 28.999...
    if accepted < 1:
        return FarThreshold(target, mirrored, nan, UNKNOWN, nan, nan, UNKNOWN)
    threshold = different[accepted]
    rng = np.random.default_rng(_SEED)
    ranks = (count * rng.beta(accepted + 1, count - accepted, BOOTSTRAP_SAMPLES)).astype(np.int64)
    thresholds = different[np.minimum(ranks, count - 1)]
    tar, tar_interval = nan, UNKNOWN
    if len(same):
        tar = _share_below(same, threshold)
        tars = rng.binomial(len(same), _share_below(same, thresholds)) / len(same)
        tar_interval = _interval(tars)
    return FarThreshold(
        far_target=target,
        mirrored=mirrored,
        distance=float(threshold),
        distance_interval=_interval(thresholds),
        far=float(_share_below(different, threshold)),
        tar=float(tar),
        tar_interval=tar_interval,
    )


def _share_below(ordered: np.ndarray, thresholds: np.ndarray | float) -> np.ndarray:
    return np.searchsorted(ordered, thresholds, side="left") / len(ordered)


def _interval(values: np.ndarray) -> Interval:
    """Return the percentile interval; an end is one of the values."""
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [outside, 1 - outside], method="inverted_cdf")
    return float(low), float(high)
