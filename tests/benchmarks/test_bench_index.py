from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import bench_index


def test_a_small_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    """All contestants run, on the same images, and every ratio is to the first."""
    path = tmp_path / "index.json"
    monkeypatch.setattr(sys, "argv", f"bench_index.py --images 60 --parts 3 --rounds 2 --json {path}".split())
    bench_index.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "60 images of 5000 to 9000 bytes, 3 parts, 2 rounds"
    assert [line.split("  ")[0] for line in lines[3:]] == list(bench_index.CONTESTANTS)
    assert lines[3].split()[-2:] == ["1.00", "1.00"]
    assert path.is_file()


def test_different_indexes_are_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bench_index.write_set(tmp_path, 9, 1)
    monkeypatch.setitem(bench_index.CONTESTANTS, "parts", lambda folder: bench_index.index_parts(folder)[:-1])
    with pytest.raises(RuntimeError, match="the indexes differ"):
        bench_index.measure(tmp_path, 1)
