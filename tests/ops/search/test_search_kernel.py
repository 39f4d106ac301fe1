"""The search kernel against products in float64, and against NumPy's kernel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation.search.kernel import NumpyScoreKernel, ScoreKernel
from evaluation.search.search import best_matches, count_at_least, empty_histogram, histogram_of, merge_matches
from ops.search import NativeScoreKernel


def unit(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    drawn = rng.standard_normal((rows, width))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def whole(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    """Rows of small whole numbers over 16: their products are exact in float32, and many are equal."""
    return (rng.integers(-2, 3, (rows, width)) / 16).astype(np.float32)


@pytest.fixture(scope="module", params=["native", "one thread", "numpy"])
def kernel(request: pytest.FixtureRequest) -> ScoreKernel:
    if request.param == "numpy":
        return NumpyScoreKernel()
    return NativeScoreKernel(1 if request.param == "one thread" else 3)


@pytest.mark.parametrize("shape", [(1, 1, 1), (13, 33, 7), (50, 5000, 24), (12, 256, 512), (700, 130, 3)])
def test_scores(kernel: ScoreKernel, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    probes, gallery = unit(rng, shape[0], shape[2]), unit(rng, shape[1], shape[2])
    scores = np.full((len(probes), len(gallery)), np.nan, np.float32)
    kernel.scan(probes, gallery, scores=scores)
    np.testing.assert_allclose(scores, probes.astype(float) @ gallery.astype(float).T, atol=1e-6)


@pytest.mark.parametrize("k", [1, 7, 300])
def test_best_matches_are_those_of_a_stable_sort(kernel: ScoreKernel, k: int) -> None:
    rng = np.random.default_rng(1)
    probes, gallery = whole(rng, 40, 5), whole(rng, 20_000, 5)
    scores, numbers = best_matches(kernel, probes, gallery, k, is_unit=True)
    exact = probes.astype(float) @ gallery.astype(float).T
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    assert np.array_equal(numbers, order)
    assert np.array_equal(scores, np.take_along_axis(exact, order, 1))


def test_equal_rows_have_equal_scores_wherever_they_lie(kernel: ScoreKernel) -> None:
    rng = np.random.default_rng(2)
    row = unit(rng, 1, 512)
    gallery = np.repeat(row, 5003, axis=0)
    probes = np.repeat(unit(rng, 1, 512), 29, axis=0)
    scores, numbers = best_matches(kernel, probes, gallery, 5003, is_unit=True)
    assert len(np.unique(scores)) == 1
    assert np.array_equal(numbers, np.broadcast_to(np.arange(5003), (29, 5003)))


def test_counts_reach_their_thresholds(kernel: ScoreKernel) -> None:
    rng = np.random.default_rng(3)
    probes, gallery = whole(rng, 30, 6), whole(rng, 5000, 6)
    exact = probes.astype(float) @ gallery.astype(float).T
    lengths = rng.integers(0, 9, 30)  # some have none
    values = [np.sort(rng.choice(row, length)) for row, length in zip(exact, lengths, strict=True)]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    reached = np.zeros(offsets[-1], np.int64)
    kernel.scan(probes, gallery, thresholds=(np.concatenate(values).astype(np.float32), offsets, reached))
    expected = [(row >= value).sum() for row, own in zip(exact, values, strict=True) for value in own]
    assert count_at_least(reached, offsets).tolist() == expected


def test_histogram_has_exact_edges(kernel: ScoreKernel) -> None:
    gallery = np.array([[1], [-1], [2], [-3], [0], [0.5], [0.5 - 2**-25], [-(2**-20)], [2**-15]], np.float32)
    histogram = empty_histogram()
    kernel.scan(np.ones((1, 1), np.float32), gallery, histogram=histogram)
    assert np.flatnonzero(histogram).tolist() == [0, 2**15 - 1, 2**15, 2**15 + 1, 3 * 2**14 - 1, 3 * 2**14, 2**16]
    assert histogram.sum() == 9 and histogram[0] == 2 and histogram[-1] == 2
    assert np.array_equal(histogram, histogram_of(gallery[:, 0]))


def test_all_at_once_and_piece_by_piece(kernel: ScoreKernel) -> None:
    rng = np.random.default_rng(4)
    probes, gallery = unit(rng, 25, 16), unit(rng, 4700, 16)
    parts = [best_matches(kernel, probes, part, 9, is_unit=True) for part in (gallery[:3000], gallery[3000:])]
    parts[1][1][:] += 3000
    whole_gallery = best_matches(kernel, probes, gallery, 9, is_unit=True)
    for merged, expected in zip(merge_matches(parts, 9), whole_gallery, strict=True):
        assert np.array_equal(merged, expected)


def test_nothing_to_do(kernel: ScoreKernel) -> None:
    histogram = empty_histogram()
    for probes, rows in ((0, 5), (5, 0)):
        kernel.scan(np.zeros((probes, 3), np.float32), np.zeros((rows, 3), np.float32), histogram=histogram)
    assert not histogram.any()


def test_arrays_of_another_kind_are_rejected(tmp_path: Path) -> None:
    kernel = NativeScoreKernel()
    rows = np.zeros((4, 3), np.float32)
    with pytest.raises(ValueError, match="float64"):
        kernel.scan(rows.astype(float), rows)
    with pytest.raises(ValueError, match="contiguous"):
        kernel.scan(rows, rows[::2])
    with pytest.raises(ValueError, match=r"\(4, 5\)"):
        kernel.scan(rows, rows[:, :3], best=(np.zeros((4, 5), np.float32), np.zeros((3, 5), np.int64)))
    with pytest.raises(ValueError, match="follow each other"):
        kernel.scan(rows, rows, thresholds=(rows[0], np.array([0, 2, 1, 2, 3]), np.zeros(3, np.int64)))
