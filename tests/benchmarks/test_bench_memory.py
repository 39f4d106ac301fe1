from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import bench_estimate, bench_memory
from benchmarks.contestants import Contestant
from benchmarks.memory_rows import HEADER, make_memory_rows, memory_cells
from benchmarks.process_memory import run_watched
from benchmarks.rounds import Measured
from common.errors import UserError

PROGRAM = """
import mmap, os, subprocess, sys, time
held = b"x" * 60_000_000
with open(sys.argv[1], "r+b") as file:
    view = mmap.mmap(file.fileno(), 0)
sum(view[::4096])
if len(sys.argv) < 3:
    subprocess.run([sys.executable, __file__, sys.argv[1], "child"], env={**os.environ, "RANK": "3"})
time.sleep(0.5)
"""


@pytest.mark.parametrize("leaves_out", [False, True])
def test_the_peak_of_every_process_is_read(tmp_path: Path, leaves_out: bool):
    program, rows = tmp_path / "program.py", tmp_path / "rows" / "file"
    program.write_text(PROGRAM)
    rows.parent.mkdir()
    rows.write_bytes(bytes(100_000_000))
    mapped = rows.parent if leaves_out else None
    code, peaks = run_watched([sys.executable, str(program), str(rows)], tmp_path / "log", mapped)
    assert code == 0
    names = {peak.name: peak for peak in peaks.values()}
    assert "rank 3" in names and len(names) == 2
    expected = 60e6 if leaves_out else 160e6
    for peak in names.values():
        assert expected < peak.peak_bytes < expected + 40e6


def entry(name: str, peak: int, precision: str = "float32", results: float = 1.0, **about: object) -> Measured:
    contestant = Contestant(name, "none", precision, options=about)
    return Measured(contestant, name, [2.0], [results], peak_bytes=peak)


def test_peaks_are_divided_by_the_smallest_of_pytorch_in_float32():
    rows, absences = make_memory_rows(
        [
            entry("f32", 1_000_000),
            entry("torch", 4_000_000, layout="default"),
            entry("torch", 2_000_000, layout="channels_last"),
            entry("torch_compile", 3_000_000),
            entry("torch_bf16", 1_500_000, "bfloat16"),
            entry("mxnet", 1, results=9.0),
        ],
        batch=8,
    )
    assert [absence.name for absence in absences] == ["mxnet"]
    assert {row.name: row.ratio for row in rows} == {"f32": 0.5, "torch": 1.0, "torch_compile": 1.5, "torch_bf16": 0.75}
    cells = memory_cells(rows[1])
    assert cells == ["torch", "float32, channels_last", "2", "1.00", "4.00", "-"] and len(cells) == len(HEADER)


@pytest.mark.parametrize(("limit", "largest"), [(1000, 45), (105, 0), (200, 5)])
def test_the_largest_batch_is_found_and_was_measured(limit: int, largest: int):
    asked = []

    def peak_of(batch: int) -> int:
        asked.append(batch)
        return 100 + 20 * batch

    found = bench_memory.largest_batch(limit, 16, peak_of(16), peak_of)
    assert found == (largest, 100 + 20 * largest if largest else 0) and len(asked) <= 5


def test_the_cases_of_the_estimate_are_trainings():
    args, rest = bench_estimate.parse_arguments(
        ["--networks", "y1", "--heads", "mapped", "--with", "none,adamw", "--ranks", "2", "--loss", "arcface"]
    )
    found = dict(bench_estimate.cases(args, rest))
    assert list(found)[:2] == [("y1", "f32", "mapped", "", "2"), ("y1", "f32", "mapped", "adamw", "2")]
    assert len(found) == 4
    for flags in found.values():
        bench_estimate.read_train_command(flags)
    with pytest.raises(UserError, match="--heads: unknown name 'whole'; known: replicated, split, partial, mapped"):
        bench_estimate.parse_arguments(["--heads", "whole"])
