"""What computes scores: the interface, and an implementation with NumPy for machines without a compiler.

``ops.search.NativeScoreKernel`` is the fast implementation; a caller that may import it hands it in.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

_PROBES, _ROWS = 1024, 4096  # of one product, 32 MB of scores


class ScoreKernel(Protocol):
    """Computes dot products of probes and gallery rows and keeps only what is asked for."""

    def scan(
        self,
        probes: np.ndarray,
        gallery: np.ndarray,
        first_number: int = 0,
        best: tuple[np.ndarray, np.ndarray] | None = None,
        thresholds: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        histogram: np.ndarray | None = None,
        scores: np.ndarray | None = None,
    ) -> None:
        """Score ``probes`` [P, E] with ``gallery`` [G, E], both finite float32, and add to the results that are given.

        Args:
            probes: [P, E].
            gallery: [G, E].
            first_number: the number of the first row of ``gallery``; later calls have larger numbers.
            best: scores float32 [P, K] and numbers int64 [P, K] of the best rows so far, at the start -inf and -1, in
                an order that only the kernel knows. Of equal scores the lower number is kept.
            thresholds: thresholds float32 [T], ascending for each probe; int64 [P + 1], where each probe's begin; and
                int64 [T], to which the scores that reach a threshold but not the probe's next one are added.
            histogram: int64 [2 * S + 1], S a power of two; each score is added at S + floor(score * S), scores beyond
                -1 and 1 at the ends.
            scores: float32 [P, G], overwritten.
        """


class NumpyScoreKernel:
    """Scores by NumPy's matrix product.

    BLAS adds up in an order that depends on a row's place. Sums in float64, rounded to float32, hardly ever show it, so
    that equal rows have equal scores.
    """

    def scan(
        self,
        probes: np.ndarray,
        gallery: np.ndarray,
        first_number: int = 0,
        best: tuple[np.ndarray, np.ndarray] | None = None,
        thresholds: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        histogram: np.ndarray | None = None,
        scores: np.ndarray | None = None,
    ) -> None:
        """Score probes with a gallery; see ``ScoreKernel``."""
        for row in range(0, len(gallery), _ROWS):
            rows = gallery[row : row + _ROWS].astype(np.float64)
            for probe in range(0, len(probes), _PROBES):
                part = slice(probe, min(probe + _PROBES, len(probes)))
                block = (probes[part].astype(np.float64) @ rows.T).astype(np.float32)
                if best is not None:
                    _keep_best(block, first_number + row, best[0][part], best[1][part])
                if thresholds is not None:
                    values, offsets, reached = thresholds
                    for number, line in enumerate(block, probe):
                        own = slice(offsets[number], offsets[number + 1])
                        _count(line, values[own], reached[own])
                if histogram is not None:
                    steps = len(histogram) // 2
                    places = np.floor(block * np.float32(steps)).clip(-steps, steps).astype(np.int64) + steps
                    histogram += np.bincount(places.ravel(), minlength=len(histogram))
                if scores is not None:
                    scores[part, row : row + _ROWS] = block


def _keep_best(block: np.ndarray, first_number: int, scores: np.ndarray, numbers: np.ndarray) -> None:
    """Merge the scores of a block, [P, R], into the best so far, which are kept sorted."""
    k = scores.shape[1]
    probes, columns = np.nonzero(block > scores[:, -1:])
    changed = np.unique(probes)
    owner = np.concatenate([np.repeat(changed, k), probes])
    score = np.concatenate([scores[changed].ravel(), block[probes, columns]])
    number = np.concatenate([numbers[changed].ravel(), columns + first_number])
    order = np.lexsort((number, -score, owner))
    starts = np.searchsorted(owner[order], changed)
    kept = order[starts[:, None] + np.arange(k)]
    scores[changed], numbers[changed] = score[kept], number[kept]


def _count(scores: np.ndarray, thresholds: np.ndarray, reached: np.ndarray) -> None:
    if len(thresholds):
        passed = scores[scores >= thresholds[0]]
        reached += np.bincount(np.searchsorted(thresholds, passed, side="right") - 1, minlength=len(thresholds))
