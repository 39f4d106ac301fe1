"""Search probes in a gallery of any length, block by block: only a block is copied at a time.

    scores, numbers = best_matches(kernel, probes, gallery, k=10)

A score is the cosine of two embeddings, summed in float32. Results are exact: every score is computed. Of equal scores
the one with the lower gallery number comes first, as in a stable sort.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from common.errors import UserError
from evaluation.search.kernel import ScoreKernel

BLOCK_ROWS = 16_384
HISTOGRAM_STEPS = 2**15  # bins per unit of score; a power of two, so that bin edges are exact


def unit_rows(rows: np.ndarray, first_number: int = 0, what: str = "embedding") -> np.ndarray:
    """Return rows [N, E] as float32 of L2 norm 1; a zero row stays zero.

    Raises:
        UserError: a row is not finite; the message calls it ``what`` and its number, counted from ``first_number``.
    """
    norms = np.sqrt(np.einsum("ne,ne->n", rows, rows, dtype=np.float64))
    broken = np.flatnonzero(~np.isfinite(norms))
    if len(broken):
        more = f" and {len(broken) - 1} others" if len(broken) > 1 else ""
        raise UserError(f"{what} {first_number + broken[0]}{more}: NaN or Inf in its numbers; embed again")
    norms[norms == 0] = 1
    return np.ascontiguousarray(rows / norms[:, None].astype(np.float32), dtype=np.float32)


def blocks(rows: np.ndarray, is_unit: bool = False, size: int = BLOCK_ROWS) -> Iterator[tuple[int, np.ndarray]]:
    """Yield first number and rows, float32 of norm 1, of consecutive blocks of ``rows`` [N, E].

    Args:
        rows: float16, float32 or float64; may be mapped from a file.
        is_unit: whether the rows are float32 of norm 1 already; they are then not copied.
        size: rows of a block.

    Raises:
        UserError: a row is not finite.
    """
    for start in range(0, len(rows), size):
        block = rows[start : start + size]
        yield start, np.ascontiguousarray(block, np.float32) if is_unit else unit_rows(block, start)


def best_matches(
    kernel: ScoreKernel, probes: np.ndarray, gallery: np.ndarray, k: int, is_unit: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores float32 [P, k] and gallery numbers int64 [P, k] of the best matches, best first.

    Args:
        kernel: computes the scores.
        probes: embeddings [P, E].
        gallery: embeddings [G, E]; ``k`` is at most G.
        k: matches of each probe.
        is_unit: whether both are float32 rows of norm 1 already.

    Raises:
        UserError: a row is not finite, or ``k`` is out of range.
    """
    if not 1 <= k <= len(gallery):
        raise UserError(f"{k} matches of a gallery of {len(gallery)}; expected 1 to {len(gallery)}")
    probes = np.ascontiguousarray(probes, np.float32) if is_unit else unit_rows(probes)
    scores, numbers = np.full((len(probes), k), -np.inf, np.float32), np.full((len(probes), k), -1, np.int64)
    for start, block in blocks(gallery, is_unit):
        kernel.scan(probes, block, start, best=(scores, numbers))
    order = np.lexsort((numbers, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)


def merge_matches(parts: list[tuple[np.ndarray, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the best ``k`` of the matches of several parts of a gallery.

    Args:
        parts: scores [P, n] and numbers in the whole gallery [P, n] of each part.
        k: matches to keep, at most those there are.
    """
    scores, numbers = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    order = np.lexsort((numbers, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(numbers, order, 1)


def count_at_least(reached: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return how many scores reached each threshold, int64 [T], from the counts of a kernel's ``thresholds``."""
    ending = np.concatenate([np.cumsum(reached[::-1])[::-1], [0]])
    return ending[:-1] - np.repeat(ending[offsets[1:]], np.diff(offsets))


def empty_histogram() -> np.ndarray:
    """Return the histogram, all zero, that ``kernel.scan`` takes."""
    return np.zeros(2 * HISTOGRAM_STEPS + 1, np.int64)


def histogram_of(scores: np.ndarray) -> np.ndarray:
    """Return the histogram of float32 scores, in the bins of ``empty_histogram``."""
    places = np.floor(scores * np.float32(HISTOGRAM_STEPS)).clip(-HISTOGRAM_STEPS, HISTOGRAM_STEPS).astype(np.int64)
    return np.bincount(places + HISTOGRAM_STEPS, minlength=2 * HISTOGRAM_STEPS + 1)
