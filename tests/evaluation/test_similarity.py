from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics.pairwise import cosine_similarity as sklearn_similarity
from sklearn.preprocessing import normalize

from common.errors import UserError
from evaluation.similarity import (
    cosine_of_distance,
    cosine_similarity,
    cosine_similarity_matrix,
    normalize_rows,
    pair_distances,
)


@pytest.fixture
def embeddings() -> tuple[np.ndarray, np.ndarray]:
    """Two float32 [50, 16] arrays with rows of very different lengths."""
    rng = np.random.default_rng(3)
    first, second = (rng.normal(size=(50, 16)) * rng.uniform(0.01, 100, (50, 1)) for _ in range(2))
    return first.astype(np.float32), second.astype(np.float32)


def test_normalize_rows_is_sklearns_with_zero_rows() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 7))
    rows[3] = 0
    assert_allclose(normalize_rows(rows), normalize(rows), rtol=1e-14)
    assert_array_equal(normalize_rows(rows)[3], np.zeros(7))


def test_rows_are_compared_as_by_plain_numpy(embeddings: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = embeddings
    expected = [
        np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y))
        for x, y in zip(first.astype(np.float64), second.astype(np.float64), strict=True)
    ]
    assert_allclose(cosine_similarity(first, second), expected, atol=1e-14)
    assert cosine_similarity(first, second).dtype == np.float64


def test_all_pairs_are_compared_as_by_sklearn(embeddings: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = embeddings[0], embeddings[1][:7]
    matrix = cosine_similarity_matrix(first, second)
    expected = sklearn_similarity(first.astype(np.float64), second.astype(np.float64))
    assert matrix.shape == (50, 7) and matrix.dtype == np.float64
    assert_allclose(matrix, expected, atol=1e-14)
    assert_allclose(np.diag(cosine_similarity_matrix(*embeddings)), cosine_similarity(*embeddings), atol=1e-14)


def test_distance_is_two_minus_twice_the_cosine(embeddings: tuple[np.ndarray, np.ndarray]) -> None:
    distances, cosines = pair_distances(*embeddings), cosine_similarity(*embeddings)
    assert_allclose(distances, 2 - 2 * cosines, atol=1e-14)
    assert_allclose([cosine_of_distance(distance) for distance in distances], cosines, atol=1e-14)


def test_known_pairs() -> None:
    first = np.array([[1, 0], [2, 0], [3, 0], [0, 0], [0.1, 0.3]], np.float32)
    second = np.array([[0, 1], [-1, 0], [5, 0], [1, 0], [0.1, 0.3]], np.float32)
    assert_array_equal(cosine_similarity(first, second)[:4], [0, -1, 1, 0])
    assert_array_equal(pair_distances(first, second), [2, 4, 0, 1, 0])
    assert cosine_similarity(first, second)[4] <= 1 and cosine_similarity_matrix(first, first).max() <= 1


def test_lengths_do_not_matter(embeddings: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = embeddings
    assert_allclose(cosine_similarity(7 * first, second), cosine_similarity(first, second), atol=1e-6)
    assert_allclose(pair_distances(first, 0.2 * second), pair_distances(first, second), atol=1e-6)


@pytest.mark.parametrize("compare", [cosine_similarity, pair_distances])
@pytest.mark.parametrize("shape", [(3, 5), (4, 4), (4,)])
def test_other_shapes_are_refused(compare: object, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"embeddings of shapes \(3, 4\) and .*; expected \(N, E\) for both"):
        compare(np.ones((3, 4), np.float32), np.ones(shape, np.float32))


@pytest.mark.parametrize("shape", [(3, 5), (4,)])
def test_a_matrix_needs_embeddings_of_one_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"embeddings of shapes \(3, 4\) and .*; expected \(N, E\) and \(M, E\)"):
        cosine_similarity_matrix(np.ones((3, 4), np.float32), np.ones(shape, np.float32))
