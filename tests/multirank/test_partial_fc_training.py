"""Whole trainings with Partial FC: against the full head, interrupted, on other numbers of ranks, as a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from settings.places import run_directory
from snapshots.layout import snapshot_path
from snapshots.reader import Snapshot
from tests.multirank.test_command_line import RUN, SCRIPT, flags, start
from tests.support.ranks import run_ranks
from tests.support.tiny import tiny_config

PROGRAM = Path(__file__).parent / "train_program.py"
STEPS, SAVED, CLASSES = 6, 3, 31
PARTIAL = {"partial_fc": True, "sample_ratio": 0.2}
NETWORK = {"dropout": 0.4, "batch_norm": True}


def run(folder: Path, **config: Any) -> dict[str, Any]:
    settings = {"train_iter": STEPS, "lr": 0.05, "lr_steps": [4], "scales": [0.1], **config}
    return {"folder": str(folder), "config": settings, "network": NETWORK}


def saved(folder: Path, loss: str, step: int) -> Path:
    config = tiny_config(folder, loss)
    return snapshot_path(run_directory(config, config.models_root), step)


@pytest.mark.slow  # on a CPU with the kernels both are one class
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_ratio_of_1_is_the_full_head_bit_for_bit(tmp_path: Path, ranks: int) -> None:
    forms = {"full": {}, "partial": {"partial_fc": True, "sample_ratio": 1.0}, "sampled": PARTIAL}
    for loss in ("arcface", "softmax"):
        runs = {
            name: run(tmp_path / loss / name, loss=loss, save_last_snapshot=True, **form)
            for name, form in forms.items()
        }
        losses = run_ranks(PROGRAM, ranks, runs)[0]
        assert [step for step, _ in losses["full"]] == list(range(1, STEPS + 1))
        assert losses["partial"] == losses["full"] != losses["sampled"]
        full, partial = (Snapshot.open(saved(tmp_path / loss / name, loss, STEPS)) for name in ("full", "partial"))
        rows, others = full.head_rows(0, CLASSES), partial.head_rows(0, CLASSES)
        assert rows.keys() == others.keys()
        for name in rows:
            np.testing.assert_array_equal(rows[name], others[name], err_msg=name)


@pytest.mark.parametrize(
    ("ranks", "loss"), [(1, "softmax"), pytest.param(2, "softmax", marks=pytest.mark.slow), (2, "arcface")]
)
def test_an_interrupted_run_repeats_the_losses(tmp_path: Path, ranks: int, loss: str) -> None:
    """It may also resume in memory-mapped files."""
    runs = {
        "straight": run(
            tmp_path / "straight", loss=loss, save_last_snapshot=True, iter_num_in_snapshot=SAVED, **PARTIAL
        ),
        "again": run(
            tmp_path / "again",
            loss=loss,
            save_last_snapshot=True,
            **PARTIAL,
            model_load_dir=str(saved(tmp_path / "straight", loss, SAVED)),
            fc7_storage="mmap",
        ),
    }
    losses = run_ranks(PROGRAM, ranks, runs)[0]
    assert len({value for _, value in losses["straight"]}) == STEPS
    assert losses["again"] == losses["straight"][SAVED:]
    ends = [Snapshot.open(saved(tmp_path / name, loss, STEPS)).head_rows(0, CLASSES) for name in ("straight", "again")]
    assert ends[0].keys() == ends[1].keys()
    for name in ends[0]:
        np.testing.assert_array_equal(ends[0][name], ends[1][name], err_msg=name)


def test_rows_and_momentum_arrive_on_other_numbers_of_ranks(tmp_path: Path) -> None:
    """At a learning rate of 0 weights stay, and so does the momentum of the rows that the one step does not sample."""
    short = run(tmp_path / "short", save_last_snapshot=True, **{**PARTIAL, "train_iter": SAVED})
    run_ranks(PROGRAM, 2, {"short": short})
    given = saved(tmp_path / "short", "arcface", SAVED)
    before = Snapshot.open(given).head_rows(0, CLASSES)
    for ranks in (1, 4):
        folder = tmp_path / f"{ranks}"
        again = run(
            folder,
            save_last_snapshot=True,
            **{**PARTIAL, "train_iter": SAVED + 1, "lr": 0.0},
            model_load_dir=str(given),
        )
        run_ranks(PROGRAM, ranks, {"again": again})
        snapshot = Snapshot.open(saved(folder, "arcface", SAVED + 1))
        assert len(snapshot.about["fc7"]["shards"]) == ranks
        after = snapshot.head_rows(0, CLASSES)
        np.testing.assert_array_equal(after["fc7_weight"], before["fc7_weight"])
        momentum = before["fc7_weight_momentum"]
        kept = (after["fc7_weight_momentum"] == momentum).all(axis=1)
        moving = (momentum != 0).any(axis=1)
        assert 0 < (~kept).sum() <= 8 + ranks  # a batch of 8 images, or each rank's share of 2 of 8
        assert (kept & moving).sum() >= 5


@pytest.mark.parametrize(
    ("first", "then"),
    [(PARTIAL, {}), pytest.param({}, PARTIAL, marks=pytest.mark.slow), (PARTIAL, {**PARTIAL, "sample_ratio": 0.5})],
)
def test_a_run_goes_on_with_another_form_or_ratio(tmp_path: Path, first: dict[str, Any], then: dict[str, Any]) -> None:
    given = saved(tmp_path / "short", "softmax", SAVED)
    runs = {
        "short": run(tmp_path / "short", loss="softmax", save_last_snapshot=True, **{**first, "train_iter": SAVED}),
        "again": run(
            tmp_path / "again",
            loss="softmax",
            save_last_snapshot=True,
            **{**then, "train_iter": SAVED + 1, "lr": 0.0},
            model_load_dir=str(given),
        ),
    }
    assert [step for step, _ in run_ranks(PROGRAM, 1, runs)[0]["again"]] == [SAVED + 1]
    before, after = (
        Snapshot.open(path).head_rows(0, CLASSES) for path in (given, saved(tmp_path / "again", "softmax", SAVED + 1))
    )
    for name in ("fc7_weight", "fc7_bias"):
        np.testing.assert_array_equal(after[name], before[name])
    assert before.keys() == after.keys() and (before["fc7_bias"] != 0).any()


def test_the_command(tmp_path: Path) -> None:
    command = flags(
        tmp_path, device_num_per_node=2, train_iter=2, num_classes=401, num_workers=0, partial_fc=1, sample_ratio=0.1
    )
    with start([SCRIPT, *command]) as process:
        out, err = process.communicate(timeout=400)
    assert (process.returncode, err) == (0, ""), err
    assert "fc7: placement cpu x 2 ranks, sbp oneflow.sbp.split(dim=0), 401 classes, 201 rows per rank" in out
    assert "Partial FC: sample ratio 0.1, 21 of 201 rows per rank and step" in out
    lines = (tmp_path / "log" / RUN / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    about = Snapshot.open(tmp_path / "models" / RUN / "snapshot_2").about
    assert (about["config"]["partial_fc"], about["config"]["sample_ratio"], about["ranks"]) == (True, 0.1, 2)
