from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from common.errors import UserError
from tests.support.ranks import ROOT
from tools.plot_run import plot_runs, read_run, read_runs, running_mean


def write_metrics(folder: Path, lines: list[dict[str, Any]], torn: str = "") -> str:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + torn)
    return str(folder)


def training(steps: int, loss: float = 40.0) -> list[dict[str, Any]]:
    """Return the lines of a run that verifies one set at every tenth step."""
    lines = []
    for step in range(1, steps + 1):
        numbers = {
            "loss": loss / step,
            "acc": 1 - 1 / step,
            "lr": 0.1 if step < 20 else 0.01,
            "images_per_second": 50.0,
        }
        lines.append({"step": step, "kind": "train", "time": "2026-01-01T00:00:00Z", **numbers})
        if step % 10 == 0:
            lines.append({"step": step, "kind": "lfw", "accuracy": 0.5 + step / 100, "xnorm": 20.0})
    return lines


def plot(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools/plot_run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_numbers_are_sorted_by_kind_and_name(tmp_path: Path) -> None:
    run = read_run(Path(write_metrics(tmp_path / "y1-arcface-orl", training(20), torn='{"step": 21, "ki')))
    assert run.name == "y1-arcface-orl"
    assert run.curve("train", "loss").steps == list(range(1, 21))
    assert run.curve("train", "lr").values == [0.1] * 19 + [0.01]
    assert (run.curve("lfw", "accuracy").steps, run.curve("lfw", "accuracy").values) == ([10, 20], [0.6, 0.7])
    assert run.curve("train", "no such").steps == []
    assert "time" not in run.curves["train"]


def test_two_runs_are_in_four_panels_with_their_names(tmp_path: Path) -> None:
    folders = [write_metrics(tmp_path / name, training(30, loss)) for name, loss in (("first", 40.0), ("second", 20.0))]
    loss, accuracy, rate, speed = plot_runs(read_runs(folders)).axes
    assert [line.get_label() for line in loss.lines] == ["first", "second"]
    np.testing.assert_allclose(loss.lines[1].get_ydata(), [20.0 / step for step in range(1, 31)])
    names = [f"{run}: {what}" for run in ("first", "second") for what in ("training", "lfw")]
    assert [line.get_label() for line in accuracy.lines] == names
    assert list(accuracy.lines[1].get_xdata()) == [10, 20, 30]
    assert len(rate.lines) == len(speed.lines) == 2
    assert [text.get_text() for text in speed.get_legend().get_texts()] == ["first", "second"]


def test_runs_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folders = [write_metrics(tmp_path / place / "run", training(3)) for place in ("a", "b")]
    assert [run.name for run in read_runs(folders)] == folders


def test_a_long_run_has_a_running_mean_over_its_points(tmp_path: Path) -> None:
    (run,) = read_runs([write_metrics(tmp_path / "long", training(400))])
    loss = plot_runs([run]).axes[0]
    assert [len(line.get_xdata()) for line in loss.lines] == [400, 400]
    np.testing.assert_allclose(loss.lines[1].get_ydata(), running_mean(run.curve("train", "loss").values, 8))


def test_the_running_mean_begins_with_what_there_is() -> None:
    assert running_mean([2.0, 4.0, 6.0, 8.0], 3) == [2.0, 3.0, 4.0, 6.0]


def test_the_command_writes_a_picture(tmp_path: Path) -> None:
    target = tmp_path / "made" / "plot.png"
    done = plot(write_metrics(tmp_path / "run", training(30)), "--output", str(target))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{target}: 1 run(s), up to step 30\n"
    assert cv2.imread(str(target)).shape == (1395, 2100, 3)


@pytest.mark.parametrize(
    ("lines", "message"),
    [(None, "contains no metrics.jsonl; give the folder of a run"), ([], "contains no numbers of a training yet")],
)
def test_a_folder_without_numbers_is_one_line(tmp_path: Path, lines: list | None, message: str) -> None:
    folder = tmp_path / "run"
    if lines is None:
        folder.mkdir()
    else:
        write_metrics(folder, lines)
    with pytest.raises(UserError, match=message):
        read_run(folder)
    done = plot(str(folder))
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_other_pictures_than_png_are_refused(tmp_path: Path) -> None:
    done = plot(write_metrics(tmp_path / "run", training(3)), "--output", "plot.jpg")
    assert (done.returncode, done.stderr) == (1, "error: --output plot.jpg: the name must end in .png\n")
