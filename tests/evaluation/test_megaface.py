"""MegaFace's protocol against plain float64 loops, with ties, single images and noisy entries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.errors import UserError
from evaluation.megaface.noises import extended, replace_noisy_probes
from evaluation.megaface.protocol import score_megaface
from evaluation.search.kernel import NumpyScoreKernel, ScoreKernel
from ops.search import NativeScoreKernel


@pytest.fixture(params=["native", "numpy"])
def kernel(request: pytest.FixtureRequest) -> ScoreKernel:
    return NativeScoreKernel(2) if request.param == "native" else NumpyScoreKernel()


def unit_grid(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Unit rows of 16 numbers 0, 1/4, 1/2 or 1: all products are multiples of 1/16, exact, and often equal."""
    kinds = np.array([[1] + [0] * 15, [0.5] * 4 + [0] * 12, [0.25] * 16, [0.5] * 3 + [0.25] * 4 + [0] * 9])
    drawn = kinds[rng.integers(0, len(kinds), rows)] * rng.choice([-1, 1], (rows, 16), p=[0.2, 0.8])
    return rng.permuted(drawn, axis=1).astype(np.float32)


def plain(
    probes: np.ndarray, people: np.ndarray, distractors: np.ndarray, noisy: np.ndarray
) -> tuple[list, list, list]:
    """Ranks, scores of pairs of one person and scores of distractors, one by one."""
    ranks, genuine, impostors = [], [], []
    for i, probe in enumerate(probes.astype(float)):
        mates = [j for j in range(len(probes)) if j != i and people[j] == people[i]]
        if not mates:
            continue
        scores = [
            -2.0 if bad else float(probe @ row) for row, bad in zip(distractors.astype(float), noisy, strict=True)
        ]
        impostors += scores
        for j in mates:
            genuine.append(float(probe @ probes[j].astype(float)))
            ranks.append(1 + sum(score >= genuine[-1] for score in scores))
    return ranks, genuine, impostors


def test_ranks_and_rates_of_every_size(kernel: ScoreKernel) -> None:
    rng = np.random.default_rng(0)
    probes, distractors = unit_grid(rng, 25), unit_grid(rng, 300)
    people = np.array([f"p{n // 6}" for n in range(24)] + ["alone"])
    noisy = rng.random(300) < 0.1
    sizes = [1, 10, 300]
    results = score_megaface(kernel, 3 * probes, people, distractors * 0.5, sizes, noisy)
    for size, result in zip(sizes, results, strict=True):
        ranks, genuine, impostors = map(np.array, plain(probes, people, distractors[:size], noisy[:size]))
        assert (result.distractors, result.people, result.probes) == (size, 4, 24)
        assert sorted(result.ranks) == sorted(ranks)
        for k in (1, 5, size + 1):
            assert result.rank(k) == (ranks <= k).mean()
        edges = result.thresholds[:, None]
        some = slice(None, None, 97)
        assert np.array_equal(result.tar[some], (genuine >= edges[some]).mean(axis=1))
        assert np.array_equal(result.far[some], (impostors >= edges[some]).mean(axis=1))
        for target in (0.001, 0.05, 0.5):
            tar, threshold = result.tar_at(target)
            if target * len(impostors) < 1:
                assert math.isnan(tar)
                continue
            reachable = [t for t in np.unique(genuine) if (impostors >= t).mean() <= target]
            assert tar == ((genuine >= reachable[0]).mean() if reachable else 0)
            if math.isnan(threshold):  # too many impostors at the cosine 1
                assert (impostors >= 1).mean() > target
                continue
            assert (impostors >= threshold).mean() <= target
            assert threshold == -1 or (impostors >= threshold - 2**-15).mean() > target


def test_cmc_counts_every_rank(kernel: ScoreKernel) -> None:
    rng = np.random.default_rng(1)
    (result,) = score_megaface(kernel, rng.normal(size=(8, 4)), list("aabbccdd"), rng.normal(size=(50, 4)), [50])
    ranks, shares = result.cmc()
    assert ranks[0] == 1 and shares[-1] == 1
    for rank in range(1, 52):
        assert shares[np.searchsorted(ranks, rank, side="right") - 1] == result.rank(rank)


def test_one_embedding_for_all_is_never_right(kernel: ScoreKernel) -> None:
    row = np.random.default_rng(2).normal(size=(1, 512)).astype(np.float32)
    (result,) = score_megaface(kernel, np.repeat(row, 6, 0), list("aaabbb"), np.repeat(row, 5000, 0), [5000])
    assert result.rank(5000) == 0 and result.rank(5001) == 1


def test_mistakes_are_one_line(kernel: ScoreKernel) -> None:
    rows, distractors = np.ones((4, 3), np.float32), np.ones((5, 3), np.float32)
    for arguments, text in (
        ((rows, list("abcd"), distractors, [5]), "no person has two images"),
        ((rows, list("aabb"), distractors, [5, 10]), "from 1 to 5"),
        ((rows, list("aabb"), distractors, [5, 2]), "ascending"),
        ((rows[:, :2], list("aabb"), distractors, [5]), r"\(4, 2\)"),
        ((rows, list("aabb"), np.where(np.eye(5, 3) > 0, np.nan, distractors), [5]), "distractor 0 and 2 others: NaN"),
    ):
        with pytest.raises(UserError, match=text):
            score_megaface(kernel, *arguments)


def test_noisy_probes_are_near_their_person() -> None:
    rows = np.random.default_rng(3).normal(size=(5, 64)).astype(np.float32)
    noisy = np.array([False, True, False, False, False])
    cleaned = replace_noisy_probes(rows, list("aaabb"), noisy)
    assert np.array_equal(cleaned[~noisy], rows[~noisy])
    centre = rows[[0, 2]].sum(axis=0)
    assert np.abs(cleaned[1] * np.linalg.norm(centre) - centre).max() < 0.0011
    assert abs(np.linalg.norm(cleaned[1]) - 1) < 1e-6
    with pytest.raises(UserError, match="all images of b"):
        replace_noisy_probes(rows, list("aaabb"), np.array([0, 0, 0, 1, 1], bool))
    assert extended(rows[0], True)[-1] == 100 and extended(rows[0], False)[-1] == 0
