"""Measure groups of people on pairs of faces: accuracy, accept rates at one threshold, false accepts across groups."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from evaluation.far_thresholds import FarThreshold, find_thresholds
from evaluation.similarity import normalize_rows
from evaluation.verification import VerificationResult

_BLOCK = 2048  # images that are compared at once
_NEAR = 1e-5  # more than float32 changes a cosine


@dataclass(frozen=True, eq=False)
class GroupPairs:
    """Pairs of images whose groups are known.

    Attributes:
        distances: float64 [N], squared L2 of unit vectors.
        issame: bool [N].
        first: int64 [N], the group of the first image of each pair.
        second: int64 [N], that of the second.
        correct: bool [N], whether the pair is on the right side of its fold's threshold.
    """

    distances: np.ndarray
    issame: np.ndarray
    first: np.ndarray
    second: np.ndarray
    correct: np.ndarray

    @classmethod
    def of(cls, result: VerificationResult, issame: np.ndarray, first: np.ndarray, second: np.ndarray) -> GroupPairs:
        """Return the pairs of a verification, whose images are of the groups ``first`` and ``second``."""
        correct = (result.distances < result.pair_thresholds) == issame
        return cls(result.distances, issame, first, second, correct)

    @classmethod
    def joined(cls, parts: Sequence[GroupPairs]) -> GroupPairs:
        """Return the pairs of several sets as one."""
        names = ("distances", "issame", "first", "second", "correct")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, eq=False)
class GroupRates:
    """The rates of G groups at one threshold. A rate is NaN for a group without such pairs.

    Attributes:
        threshold: the threshold, which holds for all groups: its FAR is that of all pairs of different people together.
        tar: float64 [G], the share of accepted pairs of one person, both of whose images are of the group.
        false_accepts: int64 [G, G], accepted pairs of two people of groups g and h; symmetric.
        compared: int64 [G, G], all pairs of two people of these groups.
    """

    threshold: FarThreshold
    tar: np.ndarray
    false_accepts: np.ndarray
    compared: np.ndarray

    @property
    def far(self) -> np.ndarray:
        """Return the false accept rate within and across groups, float64 [G, G]."""
        return _divide(self.false_accepts, self.compared)


@dataclass(frozen=True, eq=False)
class GroupReport:
    """A comparison of G groups.

    Attributes:
        groups: their names.
        same: int64 [G], pairs of one person within each group.
        different: int64 [G], pairs of two people within each group.
        accuracy: float64 [G].
        rates: one for each wanted FAR that the pairs can measure.
        mixed_same: pairs of one person whose images are in two groups; they count in no row.
    """

    groups: tuple[str, ...]
    same: np.ndarray
    different: np.ndarray
    accuracy: np.ndarray
    rates: tuple[GroupRates, ...]
    mixed_same: int


def spread(values: np.ndarray) -> tuple[float, float]:
    """Return the largest difference and the population standard deviation of the values that are not NaN."""
    measured = values[~np.isnan(values)]
    return (float(np.ptp(measured)), float(measured.std())) if len(measured) else (float("nan"), float("nan"))


def error_ratio(accuracy: np.ndarray) -> float:
    """Return the largest error divided by the smallest (RFW's skewed error ratio); infinite if the smallest is 0."""
    errors = 1 - accuracy[~np.isnan(accuracy)]
    if not len(errors):
        return float("nan")
    return float(errors.max() / errors.min()) if errors.min() > 0 else (float("inf") if errors.max() > 0 else 1.0)


def compare_groups(
    groups: Sequence[str],
    pairs: GroupPairs,
    far_targets: Sequence[float],
    mirrored: bool = True,
    images: Mapping[int, np.ndarray] | None = None,
    accuracy: Sequence[float] | None = None,
) -> GroupReport:
    """Compare groups on pairs.

    Args:
        groups: the names of the groups.
        pairs: the pairs; those of images of two groups count across groups.
        far_targets: the false accept rates of the common thresholds, over all different pairs together.
        mirrored: which embedding the distances belong to.
        images: embeddings [M, E] of each group's images, if no person is in two groups: every image is then compared
            with every image of another group, and these pairs are the ones across groups.
        accuracy: the accuracy of each group; without it the share of its pairs that are right.

    Raises:
        UserError: there are fewer than two groups.
    """
    if len(groups) < 2:
        raise UserError(f"--groups: only the group {', '.join(groups)} has images; expected at least two groups")
    count = len(groups)
    within = pairs.first == pairs.second

    def per_group(chosen: np.ndarray) -> np.ndarray:
        return np.bincount(pairs.first[chosen & within], minlength=count)

    same, different = per_group(pairs.issame), per_group(~pairs.issame)
    if accuracy is None:
        accuracy = _divide(per_group(pairs.correct), same + different)
    thresholds = find_thresholds(pairs.distances, pairs.issame, far_targets, mirrored)
    rates = []
    for threshold in thresholds:
        if not threshold.is_measured:
            continue
        accepted = pairs.distances < threshold.distance
        tar = _divide(per_group(accepted & pairs.issame), same)
        accepts = _count_between(pairs, accepted & ~pairs.issame, count)
        compared = _count_between(pairs, ~pairs.issame, count)
        rates.append(GroupRates(threshold, tar, accepts, compared))
    if images is not None and rates:
        _add_across(rates, images)
    mixed = int(np.count_nonzero(pairs.issame & ~within))
    return GroupReport(tuple(groups), same, different, np.asarray(accuracy, float), tuple(rates), mixed)


def _count_between(pairs: GroupPairs, chosen: np.ndarray, count: int) -> np.ndarray:
    """Return the number of chosen pairs of each two groups, int64 [G, G], symmetric."""
    counts = np.zeros((count, count), np.int64)
    low, high = np.minimum(pairs.first, pairs.second)[chosen], np.maximum(pairs.first, pairs.second)[chosen]
    np.add.at(counts, (low, high), 1)
    return counts + np.triu(counts, 1).T


def _add_across(rates: Sequence[GroupRates], images: Mapping[int, np.ndarray]) -> None:
    """Add the comparisons of all images of different groups to each of the rates, whose arrays are changed in place.

    The cosines are computed once, in float32. Those near a threshold are computed again in float64, so that counts are
    those of float64.
    """
    unit = {group: normalize_rows(rows) for group, rows in images.items()}
    single = {group: rows.astype(np.float32) for group, rows in unit.items()}
    lowest = min(1 - each.threshold.distance / 2 for each in rates) - 2 * _NEAR  # float32 rounds it
    for first, second in itertools.combinations(sorted(unit), 2):
        width = len(unit[second])
        for start in range(0, len(unit[first]), _BLOCK):
            cosines = (single[first][start : start + _BLOCK] @ single[second].T).ravel()
            places = np.flatnonzero(cosines > lowest)
            cosines = cosines[places]
            for each in rates:
                limit = 1 - each.threshold.distance / 2
                near = np.abs(cosines - limit) < _NEAR
                rows, columns = np.divmod(places[near], width)
                difference = unit[first][start + rows] - unit[second][columns]
                found = np.count_nonzero((cosines > limit) & ~near)
                found += np.count_nonzero(np.einsum("ne,ne->n", difference, difference) < each.threshold.distance)
                _add_both_ways(each.false_accepts, first, second, found)
        for each in rates:
            _add_both_ways(each.compared, first, second, len(unit[first]) * width)


def _add_both_ways(counts: np.ndarray, first: int, second: int, number: int) -> None:
    counts[first, second] += number
    counts[second, first] += number


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
