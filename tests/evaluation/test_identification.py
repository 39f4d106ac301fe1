"""Identification against plain float64 loops, with ties, unknown people and people with many images."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from evaluation.identification.protocol import identify, split_gallery
from evaluation.identification.report import result_lines, write_result
from evaluation.search.kernel import NumpyScoreKernel, ScoreKernel
from ops.search import NativeScoreKernel


@pytest.fixture(params=["native", "numpy"])
def kernel(request: pytest.FixtureRequest) -> ScoreKernel:
    return NativeScoreKernel(2) if request.param == "native" else NumpyScoreKernel()


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gallery and probes with people; rows of 16 numbers 0 or 1/2 and products of fourths, so that ties are common."""
    rng = np.random.default_rng(seed)
    rows = rng.permuted(np.tile([0.5] * 4 + [0.0] * 12, (110, 1)), axis=1).astype(np.float32)
    people = np.array([f"p{number}" for number in rng.integers(0, 12, 110)])
    gallery = np.arange(110) < 40
    gallery &= people != "p3"
    return rows[gallery], people[gallery], rows[70:], people[70:]


@pytest.mark.parametrize("seed", [0, 1])
def test_against_loops(kernel: ScoreKernel, seed: int) -> None:
    gallery, owners, probes, people = draw(seed)
    result = identify(kernel, 2 * gallery, owners, probes, people)
    ranks, others = [], []
    for row, person in zip(probes.astype(float), people, strict=True):
        best = {name: max(float(row @ each) for each in gallery[owners == name].astype(float)) for name in set(owners)}
        own = best.pop(person, None)
        ranks.append(0 if own is None else 1 + sum(score >= own for score in best.values()))
        others.append(max(best.values()))
        probe = len(ranks) - 1
        assert result.other[probe] == others[-1] == row @ gallery[result.other_image[probe]]
        assert owners[result.other_image[probe]] != person
        if own is not None:
            assert result.own[probe] == own == row @ gallery[result.own_image[probe]]
            assert owners[result.own_image[probe]] == person
    ranks = np.array(ranks)
    assert np.array_equal(result.ranks, ranks) and (ranks == 0).any() and (ranks > 1).any()
    assert (result.gallery, result.people, result.known) == (len(gallery), len(set(owners)), (ranks > 0).sum())
    for k in (1, 3, 12):
        assert result.rank(k) == np.mean(ranks[ranks > 0] <= k)
    for target in (0.01, 0.1, 0.5):
        rate = result.open_set(target)
        allowed = int(target * len(probes))
        if not allowed:
            assert math.isnan(rate.tpir) and math.isnan(rate.threshold)
            continue
        assert rate.threshold == sorted(others)[-1 - allowed]
        assert rate.fpir == np.mean(np.array(others) > rate.threshold) <= target
        assert rate.tpir == np.mean(((ranks == 1) & (result.own > rate.threshold))[ranks > 0])


def test_one_person_has_no_open_set(kernel: ScoreKernel) -> None:
    result = identify(kernel, np.eye(3, 4), list("aaa"), np.ones((200, 4)), ["a"] * 200)
    assert result.rank(1) == 1 and math.isnan(result.open_set(0.1).tpir)
    assert (result.other_image == -1).all() and not len(result.confusions())


def test_mistakes_are_one_line(kernel: ScoreKernel) -> None:
    rows = np.ones((2, 4), np.float32)
    for arguments, text in (
        ((rows, list("ab"), rows[:0], []), "2 gallery images and 0 probes"),
        ((rows, list("ab"), rows[:, :3], list("ab")), "use one model"),
        ((rows * np.inf, list("ab"), rows, list("ab")), "gallery image 0 and 1 others: NaN or Inf"),
    ):
        with pytest.raises(UserError, match=text):
            identify(kernel, *arguments)


def test_split_draws_for_each_person() -> None:
    people = np.array(list("abacabdaab"))
    gallery, probes = split_gallery(people, 2, 5)
    assert sorted([*gallery, *probes]) == list(range(10))
    assert sorted(people[gallery]) == list("aabbcd") and sorted(people[probes]) == list("aaab")
    assert [list(part) for part in split_gallery(people, 2, 5)] == [list(gallery), list(probes)]
    assert any(list(split_gallery(people, 2, seed)[0]) != list(gallery) for seed in range(6, 12))


def test_report(kernel: ScoreKernel, tmp_path: Path) -> None:
    gallery, owners, probes, people = draw(0)
    result = identify(kernel, gallery, owners, probes, people)
    names, gallery_names = [f"{n}.jpg" for n in range(len(probes))], [f"g{n}.jpg" for n in range(len(gallery))]
    write_result(tmp_path, result, names, gallery_names, {"seed": 1}, (0.01, 0.1))
    content = json.loads((tmp_path / "identification.json").read_text())
    assert content["rank"]["1"] == result.rank(1) and content["known_probes"] == result.known
    assert content["open_set"][0] == {"fpir_target": 0.01, "threshold": None, "fpir": None, "tpir": None}
    assert content["open_set"][1]["tpir"] == result.open_set(0.1).tpir
    rows = list(csv.DictReader((tmp_path / "confusions.csv").open()))
    assert len(rows) == (result.ranks > 1).sum()
    margins = [float(row["right_score"]) - float(row["score"]) for row in rows]
    assert margins == sorted(margins) and max(margins) <= 0
    lines = result_lines(result)
    assert f"Rank 1: {result.rank(1):.6f}" in lines and "TPIR at FPIR 0.01: not measured" in "".join(lines)
