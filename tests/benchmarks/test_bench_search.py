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
    answers = search_rows.write_data(tmp_path, 70, 5000, 64)
    paths = {kind: str(tmp_path / f"{kind}.npy") for kind in ("probes", "gallery")}
    return {"answers": answers, "k": 10, "threads": 2, **paths}


def test_contestants_agree(job: dict) -> None:
    assert len(set(job["answers"].tolist())) == 70
    results = {name: KINDS[name](job).step() for name in ("ours", "numpy", "argsort")}
    measured = [Measured(Contestant(name, "", ""), label=name, results=found) for name, found in results.items()]
    search_rows.check(measured, job["answers"])
    measured[1].results = results["numpy"][::-1]
    with pytest.raises(RuntimeError, match="numpy: its matches differ"):
        search_rows.check(measured, job["answers"])
    some = KINDS["argsort"]({**job, "some_probes": 8}).step()
    assert some == pytest.approx([*results["ours"][:8], *results["ours"][70:78]])


@pytest.mark.parametrize("kind", ["product", "onednn"])
def test_products_run(job: dict, kind: str) -> None:
    assert KINDS[kind](job).step() == []


def test_rows_compare_with_ours() -> None:
    ours = Measured(Contestant("ours", "", ""), "ours", times=[1.0, 2.0], peak_bytes=4 * 1100 * 8)
    argsort = Measured(Contestant("argsort", "", "", options={"some_probes": 10}), "argsort", times=[1.0, 1.0])
    missing = Measured(Contestant("faiss", "", ""), failure="is missing")
    rows = search_rows.make_rows([ours, argsort, missing], 100, 1000, 8)
    assert [row.ratio for row in rows[:2]] == [1, 7.5]
    assert rows[0].memory == 1 and rows[0].seconds == 1.5
    assert np.isclose(rows[1].gflops, 2e-9 * 100 * 1000 * 8 / 10)
    assert rows[2].cells() == ("faiss", "-", "-", "-", "-")
