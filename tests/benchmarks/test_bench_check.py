from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.bench_check import CHECK, DECODER, PASS, Turn, make_rows, row_cells
from tests.support.record_sets import run_here


def test_ratios_are_taken_within_rounds() -> None:
    turns = {
        DECODER: [Turn(1, 2), Turn(10, 2), Turn(2, 2)],
        PASS: [Turn(2, 2.5), Turn(20, 2.5), Turn(4, 2.5)],
        CHECK: [Turn(4, 4), Turn(10, 4), Turn(8, 4)],
    }
    decoder, decoding, check = make_rows(turns, 100)
    assert (decoder.of_decoder, decoder.of_decoder_cpu, decoder.images_per_second) == (1, 1, 50)
    assert (decoding.of_decoder, decoding.of_decoder_cpu, decoding.images_per_cpu_second) == (0.5, 0.8, 40)
    assert (check.of_decoder, check.of_decoder_cpu) == (0.25, 0.5)
    assert row_cells(decoding) == [PASS, "25", "0.50", "40", "0.80"]


def test_a_short_run_measures_all(tmp_path: Path) -> None:
    flags = ("--images", 300, "--distinct", 40, "--cores", 1, "--rounds", 1, "--json", tmp_path / "out.json")
    code, out, _ = run_here("benchmarks/bench_check.py", *flags)
    assert code == 0
    assert "300 JPEGs of 112x112" in out
    content = json.loads((tmp_path / "out.json").read_text())
    assert [row["label"] for row in content["rows"]] == [DECODER, PASS, CHECK]
    assert content["rows"][0]["of_decoder"] == 1
    assert 0 < content["rows"][2]["of_decoder_cpu"] < 1.1
    assert content["rows"][1]["images_per_second"] == pytest.approx(300 / content["turns"][PASS][0][0])
