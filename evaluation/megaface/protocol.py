"""The protocol of MegaFace: ranks among distractors, and verification with distractors as impostors.

Each ordered pair of images of one person is a probe and the one right image in the gallery, beside all distractors. The
rank of the right image is 1 + the number of distractors that are at least as near to the probe: a distractor at exactly
the same distance counts against the network, so that a network that gives all images one embedding is never right.

Nearness is the cosine; for normalised features that is the order of the L2 distance that the development kit uses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from common.progress import progress
from evaluation.search.kernel import ScoreKernel
from evaluation.search.search import (
    BLOCK_ROWS,
    HISTOGRAM_STEPS,
    count_at_least,
    empty_histogram,
    histogram_of,
    unit_rows,
)

FAR_TARGETS = (1e-6, 1e-5, 1e-4, 1e-3)


@dataclass(frozen=True, eq=False)
class MegafaceResult:
    """The result for one number of distractors.

    Attributes:
        distractors: their number.
        people: number of people with at least two images.
        probes: number of their images.
        ranks: int64 [pairs], the rank of the right image of each ordered pair, 1 to ``distractors`` + 1.
        thresholds: float64 [T], descending cosines, multiples of 2^-15.
        far: float64 [T], the share of pairs of probe and distractor at or above each threshold.
        tar: float64 [T], the share of pairs of one person at or above it.
    """

    distractors: int
    people: int
    probes: int
    ranks: np.ndarray
    thresholds: np.ndarray
    far: np.ndarray
    tar: np.ndarray

    def rank(self, k: int) -> float:
        """Return the share of pairs whose right image is among the ``k`` nearest."""
        return float((self.ranks <= k).mean())

    def cmc(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the ranks at which the share of pairs changes, ascending, and the shares; begins with rank 1."""
        found, counts = np.unique(self.ranks, return_counts=True)
        shares = np.cumsum(counts) / len(self.ranks)
        if found[0] != 1:
            found, shares = np.concatenate([[1], found]), np.concatenate([[0.0], shares])
        return found, shares

    def tar_at(self, target: float) -> tuple[float, float]:
        """Return TAR and threshold at the lowest threshold whose FAR is at most ``target``.

        NaN if there are too few pairs of probe and distractor to measure it (fewer than 1 / ``target``).
        """
        count = self.probes * self.distractors
        if math.floor(count * target * (1 + 1e-12)) < 1:
            return math.nan, math.nan
        place = int(np.searchsorted(self.far, target * (1 + 1e-12), side="right")) - 1
        return (float(self.tar[place]), float(self.thresholds[place])) if place >= 0 else (0.0, math.nan)


def score_megaface(
    kernel: ScoreKernel,
    probes: np.ndarray,
    people: Sequence[str],
    distractors: np.ndarray,
    sizes: Sequence[int],
    noisy: np.ndarray | None = None,
    what: str = "distractor",
) -> list[MegafaceResult]:
    """Return the result for the first ``size`` distractors, for each of ``sizes``, in one pass.

    Args:
        kernel: computes the scores.
        probes: features [P, E] of images of people.
        people: the person of each; those with one image take no part.
        distractors: features [D, E]; may be mapped from a file.
        sizes: numbers of distractors, ascending, at most D.
        noisy: bool [D], distractors that are far from everybody; they count as distractors, and are never near.
        what: what messages call a distractor.

    Raises:
        UserError: no person has two images, a size is out of range, or features are not finite or of another length.
    """
    _check(probes, distractors, sizes)
    people = np.unique(np.asarray(people), return_inverse=True)[1]
    used = np.flatnonzero(np.bincount(people)[people] > 1)
    if not len(used):
        raise UserError("no person has two images; MegaFace needs pairs of images of one person")
    probes, people = unit_rows(probes[used], what="probe"), people[used]
    thresholds, offsets = _mate_scores(kernel, probes, people)
    genuine = _reversed_sums(histogram_of(thresholds)) / len(thresholds)
    reached, histogram, results = np.zeros(len(thresholds), np.int64), empty_histogram(), []
    start = 0
    with progress(total=sizes[-1], desc="searching", unit="img") as bar:
        for size in sizes:
            while start < size:
                stop = min(start + BLOCK_ROWS, size)
                block = unit_rows(distractors[start:stop], start, what)
                if noisy is not None:
                    block = np.ascontiguousarray(block[~noisy[start:stop]])
                kernel.scan(probes, block, thresholds=(thresholds, offsets, reached), histogram=histogram)
                bar.update(stop - start)
                start = stop
            impostors = _reversed_sums(histogram) / (len(probes) * size)
            results.append(
                MegafaceResult(
                    distractors=size,
                    people=len(np.unique(people)),
                    probes=len(probes),
                    ranks=1 + count_at_least(reached, offsets),
                    thresholds=np.arange(HISTOGRAM_STEPS, -HISTOGRAM_STEPS - 1, -1) / HISTOGRAM_STEPS,
                    far=impostors,
                    tar=genuine,
                )
            )
    return results


def _check(probes: np.ndarray, distractors: np.ndarray, sizes: Sequence[int]) -> None:
    if probes.ndim != 2 or distractors.ndim != 2 or probes.shape[1] != distractors.shape[1]:
        raise UserError(
            f"features of probes {probes.shape} and of distractors {distractors.shape}; expected one length"
        )
    if not sizes or list(sizes) != sorted(set(sizes)) or not 1 <= sizes[0] <= sizes[-1] <= len(distractors):
        raise UserError(f"sizes {', '.join(map(str, sizes))}; expected ascending numbers from 1 to {len(distractors)}")


def _mate_scores(kernel: ScoreKernel, probes: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of each probe's other images, ascending, and int64 [P + 1], where each probe's begin."""
    lengths = np.bincount(people)[people] - 1
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    thresholds = np.empty(offsets[-1], np.float32)
    for person in np.unique(people):
        numbers = np.flatnonzero(people == person)
        rows = np.ascontiguousarray(probes[numbers])
        scores = np.empty((len(rows), len(rows)), np.float32)
        kernel.scan(rows, rows, scores=scores)
        others = scores[~np.eye(len(rows), dtype=bool)].reshape(len(rows), -1)
        for number, values in zip(numbers, np.sort(others, axis=1), strict=True):
            thresholds[offsets[number] : offsets[number + 1]] = values
    return thresholds, offsets


def _reversed_sums(histogram: np.ndarray) -> np.ndarray:
    """Return the counts at or above each bin's lower edge, from the highest edge on."""
    return np.cumsum(histogram[::-1])
