from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import bench_start
from common.errors import UserError

TRAINING = """
import sys, time
print("one line before", flush=True)
print("Epoch[0]\\tstep=1\\tETA 0:00:00", flush=True)
time.sleep(0.2)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with commands in the places of those of a checkout."""
    root = tmp_path / "checkout"
    (root / "tools").mkdir(parents=True)
    (root / "insightface_train.py").write_text(TRAINING)
    (root / "insightface_val.py").write_text("print('verified')")
    (root / "tools" / "oneflow2onnx.py").write_text("import sys; sys.exit('error: no model')")
    return root


def start(monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_start.py", *flags.split()])
    bench_start.main()


def test_two_checkouts_take_turns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path, checkout: Path
) -> None:
    """Rows of both checkouts, in the order of the commands; a training is timed to its first step."""
    path = tmp_path / "start.json"
    monkeypatch.setattr(bench_start, "ROOT", checkout)
    start(
        monkeypatch,
        f"--networks y1 --ranks 1,2 --tasks step,verification --rounds 2 --against {checkout} --json {path}",
    )
    lines = capsys.readouterr().out.splitlines()
    labels = ["y1, first step on 1 rank", "y1, first step on 2 ranks", "y1, verification of 10 pairs"]
    rows = [line for line in lines if line.startswith("y1, ")]
    assert [row.split("  ")[0] for row in rows] == [label for label in labels for _ in range(2)]
    assert [next(word for word in row.split() if word in ("this", "other")) for row in rows] == ["this", "other"] * 3
    measured = json.loads(path.read_text())["measured"]
    assert [len(each["turns"]) for each in measured] == [2] * 6
    assert all(end - mark > 0.15 for mark, end, _ in measured[0]["turns"])
    assert all(end == mark for mark, end, _ in measured[-1]["turns"])


def test_ratios_are_those_of_one_round() -> None:
    turns = {("a", "this"): [(1, 2, 3), (4, 5, 6)], ("a", "other"): [(2, 9, 6), (16, 9, 60)]}
    this, other = bench_start.make_rows([bench_start.Task("a", ("x.py",))], turns)
    assert this == ["a", "this", "2.50", "3.50", "4.50", "0.38", "0.30"]
    assert other[-2:] == ["", ""]


def test_a_command_that_fails_is_said(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    monkeypatch.setattr(bench_start, "ROOT", checkout)
    with pytest.raises(UserError, match="y1, ONNX file: the command of .* failed:\nerror: no model"):
        start(monkeypatch, "--networks y1 --tasks onnx --rounds 1")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--networks y9", "unknown network 'y9'"),
        ("--tasks step,sleep", "--tasks: unknown name 'sleep'; known: step, verification, onnx"),
        ("--ranks 0", "--ranks: '0' is not a positive whole number"),
        ("--against /nowhere", "--against /nowhere is not a checkout"),
    ],
)
def test_mistakes_are_one_line(monkeypatch: pytest.MonkeyPatch, flags: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        start(monkeypatch, flags)
    assert "\n" not in str(error.value)
