"""A run that is killed and restarted ends like an uninterrupted one."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from settings.places import run_directory
from snapshots.layout import snapshot_path
from snapshots.reader import Snapshot, newest_snapshot
from tests.support.ranks import run_ranks
from tests.support.supervise import assert_nothing_left, start_supervisor, wait_until
from tests.support.tiny import read_losses, tiny_config

TRAINING = Path(__file__).parent / "supervised_training.py"
PROGRAM = Path(__file__).parent / "train_program.py"
STEPS, SAVED = 12, 5
RUN = {
    "config": {
        "loss": "softmax",
        "train_iter": STEPS,
        "iter_num_in_snapshot": SAVED,
        "lr_steps": [7],
        "scales": [0.1],
        "lr": 0.05,
        "num_workers": 1,
    },
    "network": {"dropout": 0.4, "batch_norm": True},
}


def command(folder: Path, run: dict[str, Any]) -> list[str]:
    return [sys.executable, "-u", str(TRAINING), str(folder), json.dumps(run)]


def supervise(folder: Path, ranks: int, run: dict[str, Any]) -> tuple[int, str]:
    with start_supervisor(folder, ranks, command(folder, run)) as process:
        _, err = process.communicate(timeout=200)
        assert_nothing_left(folder, ranks)
    return process.returncode, err


def snapshot_root(folder: Path) -> Path:
    config = tiny_config(folder, loss="softmax")
    return run_directory(config, config.models_root)


@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_run_resumes_bit_exactly(tmp_path: Path, ranks: int) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    straight.mkdir()
    broken.mkdir()
    assert supervise(straight, ranks, RUN)[0] == 0
    code, err = supervise(broken, ranks, {**RUN, "die_at": [8, ranks - 1]})
    assert code == 1
    assert err.splitlines()[0] == f"rank {ranks - 1} of {ranks} failed: it ended by signal SIGKILL"
    assert newest_snapshot(snapshot_root(broken)) == snapshot_path(snapshot_root(broken), SAVED)
    before = read_losses(tiny_config(broken, loss="softmax"))
    assert before[-1][0] >= 7

    code, err = supervise(broken, ranks, {**RUN, "config": {**RUN["config"], "resume": True}})
    assert (code, err) == (0, "")
    expected = read_losses(tiny_config(straight, loss="softmax"))
    assert [step for step, _ in expected] == list(range(1, STEPS + 1))
    assert read_losses(tiny_config(broken, loss="softmax")) == expected
    assert_same_arrays(*(Snapshot.open(snapshot_path(snapshot_root(f), 10)) for f in (straight, broken)))


def assert_same_arrays(first: Snapshot, second: Snapshot) -> None:
    rows = first.about["fc7"]["num_classes"]
    for read in (
        Snapshot.backbone,
        lambda snapshot: snapshot.moments()["momentum"],
        lambda snapshot: snapshot.head_rows(0, rows),
    ):
        a, b = read(first), read(second)
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_interrupt_saves_and_the_run_goes_on(tmp_path: Path) -> None:
    run = {"config": {"loss": "softmax", "train_iter": 100000}}
    config = tiny_config(tmp_path, loss="softmax")
    metrics = run_directory(config, config.log_dir) / "metrics.jsonl"
    with start_supervisor(tmp_path, 2, command(tmp_path, run)) as process:
        wait_until(lambda: metrics.is_file() and len(read_losses(config)) >= 3, 120, "first steps")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert_nothing_left(tmp_path, 2)
    assert process.returncode == 130
    assert err == "stopping after this step; press Ctrl-C again to stop immediately\n"
    step = read_losses(config)[-1][0]
    assert f"stopped after step {step}; resume with --resume 1" in out
    assert Snapshot.open(newest_snapshot(snapshot_root(tmp_path))).about["step"] == step


def test_a_run_goes_on_on_other_numbers_of_ranks(tmp_path: Path) -> None:
    """Losses agree to rounding, and class rows arrive bit for bit, with 31 classes on 2, 1 and 4 ranks."""
    run = {"config": {**RUN["config"], "loss": "arcface"}, "network": {"dropout": 0.4}}
    losses = run_ranks(PROGRAM, 2, {"straight": {**run, "folder": str(tmp_path / "straight")}})[0]
    config = tiny_config(tmp_path / "straight")
    saved = str(snapshot_path(run_directory(config, config.models_root), SAVED))
    for ranks in (1, 4):
        again = {
            "on": {
                **run,
                "config": {**run["config"], "model_load_dir": saved, "iter_num_in_snapshot": 0, "num_workers": 0},
            },
            # With a learning rate of 0, the snapshot one step later is what was loaded.
            "still": {
                **run,
                "config": {
                    **run["config"],
                    "model_load_dir": saved,
                    "lr": 0.0,
                    "num_workers": 0,
                    "train_iter": SAVED + 1,
                    "save_last_snapshot": True,
                },
            },
        }
        folders = {name: tmp_path / f"{name}{ranks}" for name in again}
        continued = run_ranks(PROGRAM, ranks, {n: {**each, "folder": str(folders[n])} for n, each in again.items()})[0]
        steps, values = zip(*continued["on"], strict=True)
        assert steps == tuple(range(SAVED + 1, STEPS + 1))
        np.testing.assert_allclose(values, [loss for _, loss in losses["straight"][SAVED:]], rtol=1e-4)
        config = tiny_config(folders["still"])
        now = Snapshot.open(snapshot_path(run_directory(config, config.models_root), SAVED + 1))
        assert len(now.about["fc7"]["shards"]) == ranks
        before = Snapshot.open(saved)
        np.testing.assert_array_equal(now.head_rows(0, 31)["fc7_weight"], before.head_rows(0, 31)["fc7_weight"])
        for name, array in before.backbone().items():
            np.testing.assert_array_equal(now.backbone()[name], array, err_msg=name)
