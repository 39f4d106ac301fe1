"""1:N identification of templates: probes are searched in galleries, in two ways.

Closed set, as InsightFace's ``ijb_1n.py``: the galleries are joined, so that each probe has its person in the gallery.
The threshold for a false positive rate is the ceil(probes x rate)-th largest of all scores of wrong people, and
TPIR is the share of probes whose own score is larger; whether another person scores higher does not count.

Open set, as ``ijb_evals.py --is_one_2_N``: each gallery lacks the people of the other one, whose probes must be
rejected. The threshold is the max(floor(n x rate), 1)-th largest of the best scores of the n probes without a
person in the gallery; TPIR is the share of the other probes whose own score is larger, and the largest of all.

Thresholds are strict in both. Equal scores: see ``_ranks``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import UserError, require
from evaluation.templates.sets import TemplatePeople

RANKS = (1, 5, 10)
CLOSED_RATES = (0.01, 0.1)
OPEN_RATES = tuple(10**power for power in np.arange(-4, 0, 4 / 100).tolist()) + (1.0,)
"""101 rates from 1e-4 to 1; every 25th is reported, the others are for the picture."""
REPORTED = OPEN_RATES[::25]
_MATRIX = 1 << 22  # numbers in a block of scores: 32 MiB


@dataclass(frozen=True)
class TpirPoint:
    """The true positive identification rate at a false positive identification rate.

    Attributes:
        fpir_target: the wanted rate.
        tpir: NaN if there is nothing to measure it by.
        threshold: probes are accepted above it.
    """

    fpir_target: float
    tpir: float
    threshold: float


@dataclass(frozen=True)
class SearchResult:
    """The search in one gallery.

    Attributes:
        gallery: number of templates in it.
        probes: number of probes whose person is in it.
        others: number of probes whose person is not.
        hits: of ``probes``, those whose person is among the first 1, 5 and 10.
        points: TPIR at rates.
    """

    gallery: int
    probes: int
    others: int
    hits: tuple[int, ...]
    points: tuple[TpirPoint, ...]

    @property
    def rank_rates(self) -> tuple[float, ...]:
        """The share of ``probes`` found at each rank; NaN without probes."""
        return tuple(each / self.probes if self.probes else math.nan for each in self.hits)


@dataclass(frozen=True)
class Identification:
    """The result of the protocol.

    Attributes:
        closed: the search in the joined galleries.
        open: the search in each gallery, by name.
        mean_points: the mean TPIR of the galleries; the thresholds are NaN.
        mean_rank_rates: hits in both galleries by the number of all probes.
    """

    closed: SearchResult
    open: Mapping[str, SearchResult]
    mean_points: tuple[TpirPoint, ...]
    mean_rank_rates: tuple[float, ...]


def identify(
    features: Mapping[str, np.ndarray], galleries: Mapping[str, TemplatePeople], probes: TemplatePeople
) -> Identification:
    """Search the probes in the galleries.

    Args:
        features: float64 [T, E] of each gallery, by its name, and of the ``probes``, under that name.
        galleries: the people of each gallery's templates.
        probes: those of the probes' templates.

    Raises:
        UserError: a person is in the galleries twice, or a probe's person is in none.
    """
    joined = _join(galleries)
    order = np.argsort(np.concatenate([people.templates for people in galleries.values()]), kind="stable")
    joined_features = np.concatenate([features[name] for name in galleries])[order]
    closed = _search(features["probes"], joined_features, probes.people, joined.people, CLOSED_RATES, is_open=False)
    found = {
        name: _search(features["probes"], features[name], probes.people, people.people, OPEN_RATES, is_open=True)
        for name, people in galleries.items()
    }
    tpirs = np.mean([[point.tpir for point in result.points] for result in found.values()], axis=0)
    means = tuple(TpirPoint(rate, tpir, math.nan) for rate, tpir in zip(OPEN_RATES, tpirs.tolist(), strict=True))
    hits = np.sum([result.hits for result in found.values()], axis=0)
    return Identification(closed, found, means, tuple((hits / len(probes.people)).tolist()))


def _join(galleries: Mapping[str, TemplatePeople]) -> TemplatePeople:
    """Return the people of all galleries by template.

    Raises:
        UserError: a template or a person occurs twice.
    """
    templates = np.concatenate([people.templates for people in galleries.values()])
    people = np.concatenate([each.people for each in galleries.values()])
    for numbers, what in ((templates, "template"), (people, "subject")):
        values, counts = np.unique(numbers, return_counts=True)
        twice = values[counts > 1]
        require(
            not len(twice),
            f"{what} {twice[0] if len(twice) else ''} and {len(twice) - 1} others are in the galleries "
            f"{' and '.join(galleries)} more than once; each must be there once",
        )
    order = np.argsort(templates)
    return TemplatePeople(templates[order], people[order])


def _search(
    probe_features: np.ndarray,
    gallery_features: np.ndarray,
    probe_people: np.ndarray,
    gallery_people: np.ndarray,
    rates: Sequence[float],
    is_open: bool,
) -> SearchResult:
    """Search in one gallery, in blocks of probes."""
    by_person = np.argsort(gallery_people)
    place = np.minimum(np.searchsorted(gallery_people[by_person], probe_people), len(by_person) - 1)
    right = np.where(gallery_people[by_person[place]] == probe_people, by_person[place], -1)
    lost = np.flatnonzero(right < 0)
    if len(lost) and not is_open:
        raise UserError(
            f"subject {probe_people[lost[0]]} of the probes and {len(lost) - 1} other probes are in no gallery"
        )
    count, keep = len(probe_people), math.ceil(len(probe_people) * max(rates))
    ranks, own, best_wrong = np.zeros(count, np.int64), np.full(count, np.nan), np.empty(count)
    largest = np.empty(0)
    step = max(1, _MATRIX // len(gallery_people))
    for begin in range(0, count, step):
        scores = probe_features[begin : begin + step] @ gallery_features.T
        rows, columns = np.arange(len(scores)), right[begin : begin + step]
        known = columns >= 0
        rows, columns, places = rows[known], columns[known], np.arange(begin, begin + len(scores))[known]
        own[places] = scores[rows, columns]
        ranks[places] = _ranks(scores[known], own[places], columns, later_first=is_open)
        scores[rows, columns] = -np.inf
        best_wrong[begin : begin + len(scores)] = scores.max(axis=1)
        if not is_open:
            largest = _largest(np.r_[largest, _largest(scores.ravel(), keep)], keep)
    has_person = right >= 0
    probes = int(has_person.sum())
    hits = tuple(int((ranks[has_person] < rank).sum()) for rank in RANKS)
    own_known, wrong_known = own[has_person], best_wrong[has_person]
    if is_open:
        points = _open_points(own_known, wrong_known, np.sort(best_wrong[~has_person])[::-1], rates)
    else:
        points = _closed_points(own_known, np.sort(largest[np.isfinite(largest)])[::-1], rates)
    return SearchResult(len(gallery_people), probes, count - probes, hits, points)


def _ranks(scores: np.ndarray, own: np.ndarray, columns: np.ndarray, later_first: bool) -> np.ndarray:
    """Return for each row how many gallery templates come before the right one.

    Of equal scores the earlier template comes first in ``argsort(-scores)`` of the closed set, the later one in
    ``argsort(scores)[::-1]`` of the open set, as far as numpy's sort keeps their order, which it does for galleries of
    at most 16 templates only.
    """
    before = (scores > own[:, None]).sum(axis=1)
    tied = np.flatnonzero((scores == own[:, None]).sum(axis=1) > 1)
    for row in tied.tolist():
        equal = np.flatnonzero(scores[row] == own[row])
        before[row] += np.sum(equal > columns[row]) if later_first else np.sum(equal < columns[row])
    return before


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return the ``count`` largest values in any order."""
    return values if len(values) <= count else np.partition(values, len(values) - count)[-count:]


def _closed_points(own: np.ndarray, wrong: np.ndarray, rates: Sequence[float]) -> tuple[TpirPoint, ...]:
    """Return TPIR by the largest scores of wrong people, in descending order."""
    points = []
    for rate in rates:
        place = math.ceil(len(own) * rate) - 1
        threshold = float(wrong[place]) if place < len(wrong) else math.nan
        points.append(TpirPoint(rate, float(np.mean(own > threshold)) if place < len(wrong) else math.nan, threshold))
    return tuple(points)


def _open_points(
    own: np.ndarray, wrong: np.ndarray, rejected: np.ndarray, rates: Sequence[float]
) -> tuple[TpirPoint, ...]:
    """Return TPIR by the best scores of probes without a person in the gallery, in descending order."""
    if not len(own) or not len(rejected):
        return tuple(TpirPoint(rate, math.nan, math.nan) for rate in rates)
    first = np.sort(own[own > wrong])
    points = []
    for rate in rates:
        threshold = float(rejected[max(int(len(rejected) * rate) - 1, 0)])
        above = len(first) - np.searchsorted(first, threshold, side="right")
        points.append(TpirPoint(rate, float(above) / len(own), threshold))
    return tuple(points)
