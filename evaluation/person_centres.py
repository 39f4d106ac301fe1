"""Centres of people: the mean direction of their embeddings, who lies far from it, and whose centres are near.

Embeddings may be a file mapped into memory: they are read in blocks. Angles are in degrees.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from evaluation.similarity import normalize_rows

_BLOCK = 4096


def mean_centres(
    embeddings: np.ndarray, labels: np.ndarray, num_people: int, used: np.ndarray | None = None
) -> np.ndarray:
    """Return the normalised mean of each person's normalised embeddings, float32 [num_people, E].

    Args:
        embeddings: float [N, E].
        labels: int [N], the person of each.
        num_people: number of people.
        used: bool [N], which embeddings count; all by default. A person without any gets zeros.
    """
    return normalize_rows(_sums(embeddings, labels, num_people, used)).astype(np.float32)


def _sums(embeddings: np.ndarray, labels: np.ndarray, num_people: int, used: np.ndarray | None) -> np.ndarray:
    """Return the sum of each person's normalised embeddings, float64 [num_people, E]."""
    sums = np.zeros((num_people, embeddings.shape[1]))
    for rows in _blocks(len(embeddings)):
        chosen = slice(None) if used is None else used[rows]
        np.add.at(sums, labels[rows][chosen], normalize_rows(embeddings[rows][chosen]))
    return sums


def cosines_to_centres(embeddings: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the cosine of each embedding [N, E] to its person's centre [P, E], float32 [N]."""
    cosines = np.empty(len(embeddings), np.float32)
    for rows in _blocks(len(embeddings)):
        cosines[rows] = np.einsum("ne,ne->n", normalize_rows(embeddings[rows]), centres[labels[rows]])
    return cosines


def cosines_to_others(
    embeddings: np.ndarray, labels: np.ndarray, num_people: int, used: np.ndarray | None = None
) -> np.ndarray:
    """Return the cosine of each embedding to the mean of its person's other ones, float32 [N]; NaN if there are none.

    ``used``, bool [N], says which embeddings count in the means; all by default.
    """
    sums, cosines = _sums(embeddings, labels, num_people, used), np.empty(len(embeddings), np.float32)
    counted = np.ones(len(embeddings), bool) if used is None else used
    counts = np.bincount(labels[counted], minlength=num_people)
    for rows in _blocks(len(embeddings)):
        unit, own = normalize_rows(embeddings[rows]), counted[rows]
        others = normalize_rows(sums[labels[rows]] - unit * own[:, None])
        cosines[rows] = np.where(counts[labels[rows]] > own, np.einsum("ne,ne->n", unit, others), np.nan)
    return cosines


def trimmed_centres(
    embeddings: np.ndarray, labels: np.ndarray, num_people: int, max_angle: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return centres that images of other people hardly move, and the cosine of each image to its person's others.

    Images are compared twice with the mean of their person's other images: first of all of them, then of those that
    were within ``max_angle`` the first time (if there are any). A person's only image has the cosine 1.

    Returns:
        centres float32 [num_people, E], the means of the second time, and cosines float32 [N].
    """
    first = cosines_to_others(embeddings, labels, num_people)
    first[np.isnan(first)] = 1
    near = first > cosine_of_angle(max_angle)
    cosines = cosines_to_others(embeddings, labels, num_people, near)
    cosines = np.where(np.isnan(cosines), first, cosines)
    centres = mean_centres(embeddings, labels, num_people, near)
    empty = ~centres.any(axis=1)
    centres[empty] = mean_centres(embeddings, labels, num_people)[empty]
    return centres, cosines


def dominant_centres(
    embeddings: np.ndarray, labels: np.ndarray, subcentres: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each person's dominant sub-centre, and the cosines of all images to it, as Sub-center ArcFace's drop.py.

    The dominant sub-centre is the one that is nearest to most of the person's images; of several, the first.

    Args:
        embeddings: float [N, E].
        labels: int [N], the person of each.
        subcentres: float [P, K, E], the class rows of the head.

    Returns:
        centres float32 [P, E] and cosines float32 [N].
    """
    people, count, width = subcentres.shape
    unit = normalize_rows(subcentres.reshape(-1, width)).astype(np.float32).reshape(subcentres.shape)
    votes = np.zeros((people, count), np.int64)
    for rows in _blocks(len(embeddings)):
        cosines = np.einsum("ne,nke->nk", normalize_rows(embeddings[rows]), unit[labels[rows]])
        np.add.at(votes, (labels[rows], cosines.argmax(axis=1)), 1)
    centres = unit[np.arange(people), votes.argmax(axis=1)]
    return centres, cosines_to_centres(embeddings, labels, centres)


def cosine_of_angle(degrees: float) -> float:
    """Return the cosine of an angle in degrees."""
    return float(np.cos(np.radians(degrees)))


def near_pairs(first: np.ndarray, second: np.ndarray | None, above: float) -> tuple[np.ndarray, np.ndarray]:
    """Find pairs of centres whose cosine is larger than ``above``.

    Args:
        first: unit rows [P, E]; rows of zeros are not near anyone.
        second: unit rows [Q, E] of another set; None compares ``first`` with itself, each pair once.
        above: the cosine.

    Returns:
        int64 [M, 2], rows of ``first`` and ``second``, and float32 [M], their cosines; the largest first.
    """
    others, pairs, cosines = first if second is None else second, [], []
    for rows in _blocks(len(first)):
        for columns in _blocks(len(others)):
            found = first[rows] @ others[columns].T
            a, b = np.nonzero(found > above)
            value = found[a, b]
            a, b = a + rows.start, b + columns.start
            if second is None:
                later = a < b
                a, b, value = a[later], b[later], value[later]
            pairs.append(np.stack([a, b], axis=1))
            cosines.append(value)
    joined, values = np.concatenate(pairs).astype(np.int64), np.concatenate(cosines).astype(np.float32)
    order = np.argsort(-values, kind="stable")
    return joined[order], values[order]


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))
