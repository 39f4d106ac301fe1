"""The search benchmark: the drawn data, comparison of answers, and the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import search_rows
from benchmarks.contestants import Contestant
from benchmarks.peers.search_worker import KINDS
from benchmarks.rounds import Measured


@pytest.fixture
def job(tmp_path: Path) -> dict:
    search_rows.write_data(tmp_path, 70, 5000, 64)
    return {"k": 10, "threads": 2, **{kind: str(tmp_path / f"{kind}.npy") for kind in ("probes", "gallery", "answers")}}


def test_contestants_agree(job: dict) -> None:
    answers = np.load(job["answers"])
    assert len(set(answers.tolist())) == 70
    results = {name: KINDS[name](job).check(1) for name in ("ours", "numpy", "argsort")}
    measured = [Measured(Contestant(name, "", ""), label=name, results=found) for name, found in results.items()]
    search_rows.check(measured, answers)
    measured[1].results = results["numpy"][::-1]
    with pytest.raises(RuntimeError, match="numpy: its matches differ"):
        search_rows.check(measured, answers)


@pytest.mark.parametrize("part", [{}, {"some_rows": 3000}, {"some_probes": 8}])
def test_what_is_measured_finds_the_planted_answers(job: dict, part: dict) -> None:
    contestant = KINDS["ours"]({**job, **part})
    assert contestant.step() == []
    contestant.answers = contestant.answers + (contestant.answers == contestant.answers[:8].min())
    with pytest.raises(RuntimeError, match="a planted answer was not found"):
        contestant.step()


@pytest.mark.parametrize("kind", ["product", "onednn"])
@pytest.mark.parametrize("rows", [5000, 4096, 100])
def test_products_run(job: dict, kind: str, rows: int) -> None:
    assert KINDS[kind]({**job, "some_rows": rows}).step() == []


@pytest.mark.parametrize("kind", ["product", "onednn"])
def test_products_multiply(job: dict, kind: str) -> None:
    contestant = KINDS[kind](job)
    scores = np.empty((70, 4096), np.float32)
    contestant.multiply(contestant.probes, contestant.gallery[:4096], scores)
    np.testing.assert_allclose(scores, contestant.probes @ contestant.gallery[:4096].T, atol=1e-5)


def test_rows_compare_with_ours() -> None:
    ours = Measured(Contestant("ours", "", ""), "ours", times=[1.0, 2.0], peak_bytes=4 * 1100 * 8)
    argsort = Measured(Contestant("argsort", "", "", options={"some_probes": 10}), "argsort", times=[1.0, 1.0])
    missing = Measured(Contestant("faiss", "", ""), failure="is missing")
    numpy = Measured(Contestant("numpy", "", "", options={"some_rows": 100}), "numpy", times=[3.0])
    rows = search_rows.make_rows([ours, argsort, missing, numpy], 100, 1000, 8)
    assert [row.ratio for row in rows[:2]] == [1, 7.5] and rows[3].ratio == 20 and rows[3].seconds == 30
    assert rows[0].memory == 1 and rows[0].seconds == 1.5
    assert np.isclose(rows[1].gflops, 2e-9 * 100 * 1000 * 8 / 10)
    assert rows[2].cells() == ("faiss", "-", "-", "-", "-")
