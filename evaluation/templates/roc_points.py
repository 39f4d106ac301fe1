"""The ROC curve of millions of pairs, with the points of scikit-learn's ``roc_curve``, from which IJB's numbers come.

``roc_curve(labels, scores)`` with its default ``drop_intermediate=True`` has one point for each distinct score, from
the highest down, less those at which neither the number of false accepts nor that of true accepts changes its step
from one score to the next: along a run of different pairs only the two ends remain. InsightFace takes, of the points
that remain, the one whose FPR is nearest to the wanted one. Its TPR can belong to an FPR clearly below or above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.workers import available_cpus, map_in_threads
from evaluation.roc_curve import area_under

FPR_TARGETS = tuple(10**-power for power in range(6, 0, -1))
"""1e-6 to 1e-1."""


@dataclass(frozen=True, eq=False)
class RocCurve:
    """The points that remain, from (0, 0) to (1, 1).

    Attributes:
        fpr: float64 [n], ascending.
        tpr: float64 [n].
        thresholds: float64 [n]; a pair is accepted if its score is at least this; Inf at first.
        same_pairs: number of pairs of one person.
        different_pairs: number of pairs of two people.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    thresholds: np.ndarray
    same_pairs: int
    different_pairs: int

    @property
    def auc(self) -> float:
        """The area under the curve."""
        return area_under(self.fpr, self.tpr)


@dataclass(frozen=True)
class OperatingPoint:
    """What is reported at a wanted FPR.

    Attributes:
        fpr_target: the wanted rate.
        tpr: InsightFace's number: of the point whose FPR is nearest; of several with that FPR, the largest.
        fpr: the rate of that point.
        threshold: of that point.
        tpr_within: the largest TPR of all thresholds whose FPR is at most the wanted one.
        tpr_interpolated: on the line between two points.
        reachable: whether there are enough different pairs to measure the rate: 1 / ``fpr_target``.
    """

    fpr_target: float
    tpr: float
    fpr: float
    threshold: float
    tpr_within: float
    tpr_interpolated: float
    reachable: bool


@dataclass(frozen=True, eq=False)
class SortedScores:
    """Scores in ascending order.

    Attributes:
        same: of pairs of one person.
        different: of pairs of two people.
    """

    same: np.ndarray
    different: np.ndarray


def sort_scores(scores: np.ndarray, same: np.ndarray, num_threads: int | None = None) -> SortedScores:
    """Sort the scores of P pairs; memory is one copy of them, and half of one in between.

    Args:
        scores: float [P], finite.
        same: bool [P]; both kinds occur.
        num_threads: None: all cores.
    """
    different = scores[~same]
    parts = np.array_split(different, num_threads or available_cpus())
    with map_in_threads(np.ndarray.sort, parts, len(parts)) as done:
        for _ in done:
            pass
    different.sort(kind="stable")  # merges what is sorted in parts
    return SortedScores(np.sort(scores[same]), different)


def roc_points(scores: SortedScores) -> RocCurve:
    """Return the points of ``sklearn.metrics.roc_curve``."""
    different = scores.different
    positive, count = np.unique(scores.same, return_counts=True)
    # The events: all distinct scores but those of a single different pair.
    equal = different[1:] == different[:-1]
    value = np.union1d(positive, different[1:][equal])[::-1]
    below, upto = np.searchsorted(different, value, "left"), np.searchsorted(different, value, "right")
    own_false, own_true = upto - below, np.zeros(len(value), np.int64)
    own_true[len(value) - 1 - np.searchsorted(value[::-1], positive)] = count
    false, true = len(different) - below, np.cumsum(own_true)
    # The single different pairs between an event and the one before it, and behind it.
    before = false - own_false - np.r_[0, false[:-1]]
    after = np.r_[before[1:], below[-1]]
    # An event is dropped if the next one follows at once with the same step. The first and the last point stay.
    repeats = (own_false[1:] == own_false[:-1]) & (own_true[1:] == own_true[:-1])
    keep = np.r_[~repeats, True] | (after > 0)
    keep[0] |= before[0] == 0
    # Of a run of single different pairs the last point stays, and the very first point of all.
    ends = np.flatnonzero(np.r_[before, after[-1]] > 0)
    run_false = np.r_[false - own_false, len(different)][ends]
    run_true = np.r_[0, true][ends]
    first = int(before[0] > 1)
    fps = np.r_[[1] * first, false[keep], run_false]
    tps = np.r_[[0] * first, true[keep], run_true]
    thresholds = np.r_[different[len(different) - first :], value[keep], different[len(different) - run_false]]
    order = np.lexsort((tps, fps))
    fps, tps, thresholds = np.r_[0, fps[order]], np.r_[0, tps[order]], np.r_[np.inf, thresholds[order]]
    return RocCurve(fps / fps[-1], tps / tps[-1], thresholds, len(scores.same), len(different))


def operating_points(
    curve: RocCurve, scores: SortedScores, targets: Sequence[float] = FPR_TARGETS
) -> list[OperatingPoint]:
    """Return the numbers at the wanted false positive rates.

    Args:
        curve: ``roc_points(scores)``.
        scores: of the same pairs.
        targets: the rates.
    """
    fpr, tpr, thresholds = curve.fpr[::-1], curve.tpr[::-1], curve.thresholds[::-1]
    points = []
    for target in targets:
        nearest = int(np.argmin(np.abs(fpr - target)))
        points.append(
            OperatingPoint(
                fpr_target=target,
                tpr=float(tpr[nearest]),
                fpr=float(fpr[nearest]),
                threshold=float(thresholds[nearest]),
                tpr_within=_tpr_within(scores, target),
                tpr_interpolated=float(np.interp(target, curve.fpr, curve.tpr)),
                reachable=_allowed(scores, target) >= 1,
            )
        )
    return points


def _allowed(scores: SortedScores, target: float) -> int:
    """Return how many false accepts a rate allows."""
    return int(target * len(scores.different) * (1 + 1e-12))  # 0.1 * 30 is less than 3 for some such numbers


def _tpr_within(scores: SortedScores, target: float) -> float:
    """Return the largest TPR at an FPR of at most ``target``."""
    allowed = _allowed(scores, target)
    if allowed >= len(scores.different):
        return 1.0
    limit = scores.different[len(scores.different) - 1 - allowed]  # may not be accepted
    return 1 - float(np.searchsorted(scores.same, limit, side="right")) / len(scores.same)
