"""Writing in the background: no rank waits, failures are reported, a kill leaves older files intact."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from snapshots import writer as module
from snapshots.layout import HeadShard, snapshot_path
from snapshots.reader import Snapshot, newest_snapshot
from snapshots.writer import Contents, SnapshotWriter
from tests.support.ranks import ROOT

ROWS = 7


def make_parts(step: int) -> tuple[Contents, HeadShard]:
    shard = HeadShard(0, 1, 0, ROWS, {"fc7_weight": np.full((ROWS, 2), step, np.float32)})
    about = {"step": step, "position": 8 * step, "highest_accuracy": 0.0, "config": {"network": "tiny"}}
    about["fc7"] = {"num_classes": ROWS, "emb_size": 2, "shards": [{"file": shard.file, "rows": [0, ROWS]}]}
    arrays = {"fc1_bias": np.full(3, step, np.float32)}
    return Contents(about, arrays, {"momentum": arrays}), shard


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Writing stops before its first file until this is set."""
    event, save = threading.Event(), module.save_file

    def save_after(*args: object) -> str:
        assert event.wait(20)
        return save(*args)

    monkeypatch.setattr(module, "save_file", save_after)
    return event


def test_training_goes_on_while_a_snapshot_is_written(tmp_path: Path, gate: threading.Event) -> None:
    writer, path = SnapshotWriter(), snapshot_path(tmp_path, 1)
    writer.start(path, *make_parts(1))
    assert writer.poll() is None and not path.exists()  # start has come back, though nothing can have been written
    beats = []

    def beat() -> None:
        beats.append(1)
        gate.set()

    assert writer.finish(beat) == path and beats
    assert Snapshot.open(path).backbone()["fc1_bias"].tolist() == [1, 1, 1]
    assert writer.poll() is None and writer.finish() is None  # said once


def test_the_next_snapshot_waits_for_the_one_before(tmp_path: Path, gate: threading.Event) -> None:
    writer = SnapshotWriter()
    writer.start(snapshot_path(tmp_path, 1), *make_parts(1))
    threading.Timer(0.3, gate.set).start()
    writer.start(snapshot_path(tmp_path, 2), *make_parts(2))
    assert Snapshot.open(snapshot_path(tmp_path, 1)).about["step"] == 1
    assert writer.finish() == snapshot_path(tmp_path, 2)


def test_in_the_foreground_it_is_there_when_the_call_ends(tmp_path: Path) -> None:
    writer = SnapshotWriter()
    writer.start(snapshot_path(tmp_path, 1), *make_parts(1), background=False)
    assert Snapshot.open(snapshot_path(tmp_path, 1)).is_full
    assert writer.poll() == snapshot_path(tmp_path, 1)


def test_its_thread_starts_before_memory_may_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    writer = SnapshotWriter()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    for step in (1, 2):
        writer.start(snapshot_path(tmp_path, step), *make_parts(step))
        assert writer.finish() == snapshot_path(tmp_path, step)


def test_unfinished_folders_of_killed_runs_are_removed(tmp_path: Path) -> None:
    for name in (".snapshot_7.tmp", ".snapshot_5.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fc7.0.safetensors").write_bytes(b"half")
    SnapshotWriter().start(snapshot_path(tmp_path, 1), *make_parts(1), background=False)
    assert [path.name for path in tmp_path.iterdir()] == [snapshot_path(tmp_path, 1).name]


@pytest.mark.parametrize("how", ["poll", "finish", "start"])
def test_a_failure_arrives_wherever_training_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    writer = SnapshotWriter()
    writer.start(snapshot_path(tmp_path, 1), *make_parts(1))
    writer.finish()

    def fail(arrays: object, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", fail)
    writer.start(snapshot_path(tmp_path, 2), *make_parts(2))
    looks = {"finish": writer.finish, "start": lambda: writer.start(snapshot_path(tmp_path, 3), *make_parts(3))}
    with pytest.raises(UserError, match="cannot be written .*No space left.*earlier snapshots are untouched") as caught:
        if how == "poll":
            wait([writer._writing])
        looks.get(how, writer.poll)()
    assert "\n" not in str(caught.value)
    assert newest_snapshot(tmp_path) == snapshot_path(tmp_path, 1)
    assert not list(tmp_path.glob(".*"))


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/snapshot_1 cannot be written .*Not a directory.*are untouched"):
        SnapshotWriter().start(snapshot_path(tmp_path / "file", 1), *make_parts(1))


def test_weights_that_are_no_numbers_are_never_written(tmp_path: Path) -> None:
    for broken in ("fc1_bias", "fc7_weight"):
        contents, shard = make_parts(1)
        {**contents.backbone, **shard.arrays}[broken][1] = np.inf
        writer = SnapshotWriter(advice="take care")
        writer.start(snapshot_path(tmp_path, 1), contents, shard)
        with pytest.raises(UserError, match=f"{broken} holds NaN or Inf after step 1; take care"):
            writer.finish()
    assert newest_snapshot(tmp_path) is None


KILLED = """
import os, signal, sys
from pathlib import Path
from snapshots import writer as module
from tests.snapshots.test_writer import SnapshotWriter, make_parts, snapshot_path

folder, victim = Path(sys.argv[1]), sys.argv[2]
writer = SnapshotWriter()
writer.start(snapshot_path(folder, 1), *make_parts(1))
writer.finish()
sync_path = module.sync_path

def sync_and_die(path):
    if path.name == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    sync_path(path)

module.sync_path = sync_and_die
writer.start(snapshot_path(folder, 2), *make_parts(2))
writer.finish()
"""


@pytest.mark.parametrize("victim", ["fc7-00000-of-00001.safetensors", "momentum.safetensors", "snapshot.json"])
def test_a_kill_leaves_the_snapshot_before(tmp_path: Path, victim: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), victim], cwd=ROOT, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert newest_snapshot(tmp_path) == snapshot_path(tmp_path, 1)
    found = Snapshot.open(snapshot_path(tmp_path, 1))
    assert found.moments()["momentum"]["fc1_bias"].tolist() == [1, 1, 1]
    assert found.head_rows(0, ROWS)["fc7_weight"].max() == 1
    writer = SnapshotWriter()
    writer.start(snapshot_path(tmp_path, 2), *make_parts(2))  # what was left does not disturb
    assert writer.finish() == snapshot_path(tmp_path, 2)
    assert Snapshot.open(snapshot_path(tmp_path, 2)).about["step"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snapshot_1", "snapshot_2"]
