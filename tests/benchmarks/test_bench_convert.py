from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_convert
from data.ofrecord.records import decode_train_record, list_parts, read_part


def test_a_small_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """The contestants run on the same images, and a ratio is between the speeds of one round."""
    path = tmp_path / "convert.json"
    monkeypatch.setattr(sys, "argv", f"bench_convert.py --images 120 --rounds 1 --json {path}".split())
    chosen = (bench_convert.COPY, bench_convert.FLUSHED, "one part", bench_convert.DECODER, "one part, decoded")
    for table in ("COPYING", "DECODING"):
        known = getattr(bench_convert, table)
        monkeypatch.setattr(bench_convert, table, {name: known[name] for name in chosen if name in known})
    bench_convert.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("120 images, ")
    assert tuple(line.split("  ")[0] for line in lines[3:8]) == chosen
    assert lines[3].split()[4] == "1.00" and lines[6].split()[-1] == "1.00"
    assert path.is_file()


def test_both_converters_write_the_same_records(tmp_path: Path) -> None:
    bench_convert.write_set(tmp_path, 50)
    job = bench_convert.Job(tmp_path / "train.rec", tmp_path / "part-00000", 2)
    bench_convert.convert_by_messages(job)
    theirs = (tmp_path / "part-00000").read_bytes()
    bench_convert.convert(bench_convert.Job(job.records, tmp_path / "ours", 2))
    bench_convert.check_output(bench_convert.Job(job.records, tmp_path / "ours", 2), 50)
    assert (tmp_path / "ours" / "part-00000").read_bytes() == theirs
    assert (
        sum(
            1
            for part in list_parts(tmp_path / "ours")
            for _ in map(decode_train_record, dict(read_part(part)).values())
        )
        == 50
    )
    with pytest.raises(RuntimeError, match="not complete"):
        bench_convert.check_output(bench_convert.Job(job.records, tmp_path / "ours", 2), 51)


def test_ratios_are_of_one_round() -> None:
    times = {
        bench_convert.COPY: np.array([[1.0, 1.0], [4.0, 1.0]]),
        "one part": np.array([[2.0, 1.0], [8.0, 1.0]]),
        bench_convert.DECODER: np.array([[3.0, 1.0], [3.0, 1.0]]),
    }
    rows = bench_convert.make_rows(times, 10)
    assert rows[1] == ("one part", "2", "5.00", "1.00", "0.50", "", "")
    assert rows[2][4:] == ("", "", "1.00")
