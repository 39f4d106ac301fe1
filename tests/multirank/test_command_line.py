"""The command as users type it, with the smallest real network."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapshots.reader import Snapshot
from tests.support.ranks import ROOT, free_port
from tests.support.supervise import session_members, wait_until

SCRIPT = str(ROOT / "insightface_train.py")
RUN = "y1-arcface-orl"


def flags(folder: Path, **changes: object) -> list[str]:
    settings = {
        "network": "y1",
        "dataset": "orl",
        "loss": "arcface",
        "device": "cpu",
        "use_synthetic_data": 1,
        "num_classes": 31,
        "total_img_num": 40,
        "train_batch_size": 4,
        "train_iter": 6,
        "iter_num_in_snapshot": 2,
        "loss_print_frequency": 1,
        "num_workers": 1,
        "save_last_snapshot": 1,
        "lr_steps": "3",
        "scales": "0.1",
        "models_root": folder / "models",
        "log_dir": folder / "log",
        **changes,
    }
    return [word for key, value in settings.items() for word in (f"--{key}", str(value))]


@contextlib.contextmanager
def start(command: list[str]) -> Iterator[subprocess.Popen]:
    """Start a command in a new session, and kill the processes that remain in that session."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for pid in session_members(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = (folder / "log" / RUN / "metrics.jsonl").read_text().splitlines()
    return [(line["step"], line["loss"]) for line in map(json.loads, lines)]


def children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return sorted(found)


@pytest.mark.slow
def test_killed_command_resumes_bit_exactly(tmp_path: Path) -> None:
    with start([SCRIPT, *flags(tmp_path / "straight", device_num_per_node=2)]) as process:
        out, err = process.communicate(timeout=400)
    assert (process.returncode, err) == (0, ""), err
    assert "Network FLOPs: " in out and "fc7: placement cpu x 2 ranks, sbp oneflow.sbp.split(dim=0)" in out

    broken = tmp_path / "broken"
    with start([SCRIPT, *flags(broken, device_num_per_node=2)]) as process:
        saved = broken / "models" / RUN / "snapshot_2"
        wait_until(saved.is_dir, 400, "first snapshot")
        ranks = children(process.pid)
        os.kill(ranks[1], signal.SIGKILL)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 1 and err.startswith("rank 1 of 2 failed: it ended by signal SIGKILL")
        wait_until(lambda: not any(session_members(rank) for rank in ranks), 5, "end of all ranks and their workers")
    assert not (broken / "models" / RUN / "snapshot_6").exists()

    with start([SCRIPT, *flags(broken, device_num_per_node=2), "--resume", "1"]) as process:
        out, err = process.communicate(timeout=400)
    assert (process.returncode, err) == (0, ""), err
    assert "resumed from" in out
    assert losses(broken) == losses(tmp_path / "straight")
    assert [step for step, _ in losses(broken)] == [1, 2, 3, 4, 5, 6]


def launcher() -> list[str]:
    return ["-m", "oneflow.distributed.launch", "--nproc_per_node", "2", "--master_port", str(free_port())]


def test_the_trainer_under_oneflow_s_own_launcher(tmp_path: Path) -> None:
    run = {"config": {"train_iter": 2, "save_last_snapshot": True}}
    program = str(Path(__file__).parent / "supervised_training.py")
    with start([*launcher(), program, str(tmp_path), json.dumps(run)]) as process:
        _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert Snapshot.open(tmp_path / "models" / RUN / "snapshot_2").about["ranks"] == 2
    assert [step for step, _ in losses(tmp_path)] == [1, 2]


@pytest.mark.slow
def test_the_command_under_oneflow_s_own_launcher(tmp_path: Path) -> None:
    with start([*launcher(), SCRIPT, *flags(tmp_path, train_iter=2)]) as process:
        out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert "fc7: placement cpu x 2 ranks" in out and out.count("snapshot: ") == 1
    assert Snapshot.open(tmp_path / "models" / RUN / "snapshot_2").about["ranks"] == 2
    assert [step for step, _ in losses(tmp_path)] == [1, 2]
