"""Search each probe in a gallery of people: rank of the right person, and open-set rates with their thresholds.

A person's score is that of the nearest of their gallery images. The rank of the right person is 1 + the number of other
people with at least the same score, so an exact tie counts against the network.

Open set: each probe is searched once more as if its person were not in the gallery; a best score above the threshold is
then a false positive. FPIR is the share of probes with a false positive, TPIR the share of probes of people in the
gallery whose person comes first, with a score above the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from common.progress import progress
from evaluation.search.kernel import ScoreKernel
from evaluation.search.search import unit_rows

FPIR_TARGETS = (0.01, 0.1)
_SCORES = 2**24  # of one block of probes, 64 MB


@dataclass(frozen=True)
class OpenSetRate:
    """The result at one wanted FPIR; NaN if there are too few probes to measure it.

    Attributes:
        fpir_target: the wanted rate.
        threshold: cosine; a match must be above it. With k = floor(target * probes), the (k+1)-th largest best score
            of probes searched without their person.
        fpir: the rate measured at the threshold, at most the target.
        tpir: the share of probes of known people that are found above it.
    """

    fpir_target: float
    threshold: float
    fpir: float
    tpir: float


@dataclass(frozen=True, eq=False)
class IdentificationResult:
    """The result for P probes.

    Attributes:
        gallery: number of gallery images.
        people: number of people in the gallery.
        ranks: int64 [P], the rank of the right person, from 1; 0 for a probe whose person is not in the gallery.
        own: float32 [P], the score of the right person; NaN if there is none.
        other: float32 [P], the best score of another person; -inf if there is none.
        own_image: int64 [P], the right person's nearest gallery image, or -1.
        other_image: int64 [P], the nearest gallery image of another person, or -1.
    """

    gallery: int
    people: int
    ranks: np.ndarray
    own: np.ndarray
    other: np.ndarray
    own_image: np.ndarray
    other_image: np.ndarray

    @property
    def known(self) -> int:
        """The number of probes whose person is in the gallery."""
        return int((self.ranks > 0).sum())

    def rank(self, k: int) -> float:
        """Return the share of probes of known people whose person is among the ``k`` first; NaN without such probes."""
        return float(((self.ranks > 0) & (self.ranks <= k)).sum() / self.known) if self.known else math.nan

    def open_set(self, fpir_target: float) -> OpenSetRate:
        """Return TPIR and threshold for a wanted FPIR, above 0 and below 1."""
        count = len(self.other)
        allowed = math.floor(fpir_target * count * (1 + 1e-12))
        if allowed < 1 or not self.known or self.people < 2:
            return OpenSetRate(fpir_target, math.nan, math.nan, math.nan)
        threshold = np.sort(self.other)[::-1][allowed]
        found = (self.ranks == 1) & (self.own > threshold)
        return OpenSetRate(
            fpir_target, float(threshold), float((self.other > threshold).mean()), float(found.sum() / self.known)
        )

    def confusions(self) -> np.ndarray:
        """Return the probes whose person does not come first, the clearest mistake first."""
        wrong = np.flatnonzero(self.ranks > 1)
        return wrong[np.argsort(self.own[wrong] - self.other[wrong], kind="stable")]


def identify(
    kernel: ScoreKernel,
    gallery: np.ndarray,
    gallery_people: Sequence[str],
    probes: np.ndarray,
    probe_people: Sequence[str],
) -> IdentificationResult:
    """Search each probe in the gallery.

    Args:
        kernel: computes the scores.
        gallery: embeddings [G, E].
        gallery_people: the person of each.
        probes: embeddings [P, E].
        probe_people: the person of each; some may not be in the gallery.

    Raises:
        UserError: there are no probes or gallery images, their embeddings differ in length, or one is not finite.
    """
    if not len(gallery) or not len(probes):
        raise UserError(f"{len(gallery)} gallery images and {len(probes)} probes; expected at least one of each")
    if gallery.shape[1] != probes.shape[1]:
        raise UserError(f"gallery embeddings have {gallery.shape[1]} numbers, probes {probes.shape[1]}; use one model")
    names, people = np.unique(np.asarray(gallery_people), return_inverse=True)
    order = np.argsort(people, kind="stable")  # all images of a person are consecutive
    starts = np.searchsorted(people[order], np.arange(len(names)))
    bounds = [*starts.tolist(), len(order)]
    gallery = unit_rows(gallery, what="gallery image")[order]
    place = {name: number for number, name in enumerate(names.tolist())}
    owners = np.array([place.get(name, -1) for name in np.asarray(probe_people).tolist()])
    count = len(probes)
    ranks, own_image, other_image = np.zeros(count, np.int64), np.full(count, -1), np.full(count, -1)
    own, other = np.full(count, np.nan, np.float32), np.full(count, -np.inf, np.float32)
    size = max(12, _SCORES // len(gallery))
    with progress(total=count, desc="identifying", unit="img") as bar:
        for begin in range(0, count, size):
            block = unit_rows(probes[begin : begin + size], begin, "probe")
            scores = np.empty((len(block), len(gallery)), np.float32)
            kernel.scan(block, gallery, scores=scores)
            best = np.maximum.reduceat(scores, starts, axis=1)
            for row, probe in enumerate(range(begin, begin + len(block))):
                owner = owners[probe]
                if owner >= 0:
                    own[probe] = best[row, owner]
                    ranks[probe] = (best[row] >= own[probe]).sum()
                    own_image[probe] = _nearest(scores[row], bounds, owner, order)
                    best[row, owner] = -np.inf
                if len(names) > (owner >= 0):
                    nearest = int(best[row].argmax())
                    other[probe] = best[row, nearest]
                    other_image[probe] = _nearest(scores[row], bounds, nearest, order)
            bar.update(len(block))
    return IdentificationResult(len(gallery), len(names), ranks, own, other, own_image, other_image)


def split_gallery(people: Sequence[str], per_person: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of gallery images and of probes, both ascending.

    Args:
        people: the person of each image.
        per_person: gallery images of each person, drawn by ``seed``; all others are probes.
        seed: of the draw.
    """
    numbers = np.unique(np.asarray(people), return_inverse=True)[1]
    shuffled = np.random.default_rng(seed).permutation(len(numbers))
    shuffled = shuffled[np.argsort(numbers[shuffled], kind="stable")]
    sorted_people = numbers[shuffled]
    turn = np.arange(len(numbers)) - np.searchsorted(sorted_people, sorted_people)
    return np.sort(shuffled[turn < per_person]), np.sort(shuffled[turn >= per_person])


def _nearest(scores: np.ndarray, bounds: Sequence[int], person: int, order: np.ndarray) -> int:
    """Return the number of the person's gallery image with the best score."""
    begin, end = bounds[person], bounds[person + 1]
    return int(order[begin + scores[begin:end].argmax()])
