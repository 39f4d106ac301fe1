"""Score pairs of templates: the dot products of their features, for millions of pairs."""

from __future__ import annotations

import functools

import numpy as np

from common.workers import available_cpus, map_in_threads

_DENSE = 40  # products of a matrix multiplication that cost as much as one of a single pair
_MATRIX = 1 << 22  # numbers in a block of the matrix: 32 MiB
_GATHER = 2048  # pairs whose features fit into the cache


def score_pairs(
    features: np.ndarray, first: np.ndarray, second: np.ndarray, num_threads: int | None = None
) -> np.ndarray:
    """Return the dot product of each pair, float64 [P].

    The pairs of IJB compare a few templates with many others, so that the matrix of all of them, computed in blocks,
    is the fastest way. Pairs that are a small part of the matrix are multiplied one by one. Float64, because float32
    would change the order of scores that differ by less than 1e-7, of which 15 million have many.

    Args:
        features: float64 [T, E].
        first: int [P], rows of ``features``.
        second: int [P].
        num_threads: None: all cores. The matrix product has those of BLAS.
    """
    if not len(first):
        return np.empty(0)
    lefts, left = _compact(first, len(features))
    rights, right = _compact(second, len(features))
    if len(lefts) * len(rights) > _DENSE * len(first):
        return _score_single(features, first, second, num_threads or available_cpus())
    if len(lefts) > len(rights):
        lefts, left, rights, right = rights, right, lefts, left
    return _score_blocks(features, lefts, left, rights, right)


def _compact(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that occur, ascending, and the place among them of each: int32 [P]."""
    occurs = np.zeros(count, bool)
    occurs[rows] = True
    places = np.cumsum(occurs, dtype=np.int32) - 1
    return np.flatnonzero(occurs), places[rows]


def _score_blocks(
    features: np.ndarray, lefts: np.ndarray, left: np.ndarray, rights: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Score by blocks of rows of the matrix of ``lefts`` and ``rights``."""
    order = None
    if (left[1:] < left[:-1]).any():  # the distributed file is sorted by the first template
        short = np.uint16 if len(lefts) <= 1 << 16 else np.int32  # numpy sorts 16 bits without comparisons
        order = np.argsort(left.astype(short), kind="stable")
        left, right = left[order], right[order]
    scores = np.empty(len(left))
    columns = np.ascontiguousarray(features[rights])
    step = max(1, _MATRIX // len(rights))
    begins = np.arange(0, len(lefts), step, dtype=left.dtype)  # another type would copy ``left``
    starts = np.r_[np.searchsorted(left, begins), len(left)]
    for begin, start, stop in zip(begins.tolist(), starts, starts[1:], strict=False):
        matrix = features[lefts[begin : begin + step]] @ columns.T
        places = (left[start:stop] - begin).astype(np.int64) * len(rights) + right[start:stop]
        matrix.ravel().take(places, out=scores[start:stop], mode="clip")
    if order is None:
        return scores
    unsorted = np.empty_like(scores)
    unsorted[order] = scores
    return unsorted


def _score_single(features: np.ndarray, first: np.ndarray, second: np.ndarray, num_threads: int) -> np.ndarray:
    """Score pair by pair."""
    scores = np.empty(len(first))
    score = functools.partial(_score_slice, features, first, second, scores)
    with map_in_threads(score, range(0, len(first), _GATHER), num_threads) as done:
        for _ in done:
            pass
    return scores


def _score_slice(features: np.ndarray, first: np.ndarray, second: np.ndarray, scores: np.ndarray, begin: int) -> None:
    end = begin + _GATHER
    left, right = features[first[begin:end]], features[second[begin:end]]
    np.einsum("pe,pe->p", left, right, out=scores[begin:end])
