from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import UserError
from snapshots.layout import HeadShard
from snapshots.reader import Snapshot
from snapshots.writer import Contents, SnapshotWriter
from tools import merge_fc7 as module
from tools.merge_fc7 import merge_fc7

ROOT = Path(__file__).resolve().parents[2]
WEIGHT = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
BIAS = np.arange(7, dtype=np.float32)
BOUNDS = ((0, 4), (4, 7), (7, 7))  # the last rank holds padding only


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    path, count = tmp_path / "snapshot_3", len(BOUNDS)
    pieces = [
        HeadShard(i, count, a, b, {"fc7_weight": WEIGHT[a:b], "fc7_bias": BIAS[a:b]}) for i, (a, b) in enumerate(BOUNDS)
    ]
    shards = [{"file": piece.file, "rows": [piece.start, piece.stop]} for piece in pieces]
    about = {"step": 3, "position": 0, "highest_accuracy": 0.0, "config": {}}
    about["fc7"] = {"num_classes": 7, "emb_size": 3, "shards": shards}
    barrier = threading.Barrier(count)

    def be_rank(rank: int) -> None:
        world = SimpleNamespace(rank=rank, size=count, barrier=lambda: barrier.wait(20))
        writer = SnapshotWriter(world.rank, world.barrier)
        writer.start(path, Contents(about, {"w": np.zeros(1, np.float32)}), pieces[rank])
        writer.finish()

    threads = [threading.Thread(target=be_rank, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Snapshot.open(path)


@pytest.mark.parametrize("chunk", [2, 5, 100])
def test_all_rows_arrive_in_order(snapshot, tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    assert merge_fc7(snapshot, "fc7_weight", tmp_path / "fc7.npy") == (7, 3)
    np.testing.assert_array_equal(np.load(tmp_path / "fc7.npy"), WEIGHT)
    assert merge_fc7(snapshot, "fc7_bias", tmp_path / "bias.npy") == (7,)
    np.testing.assert_array_equal(np.load(tmp_path / "bias.npy"), BIAS)


def test_an_unknown_array_is_an_error(snapshot, tmp_path):
    with pytest.raises(UserError, match="--array fc8: .* has only fc7_bias, fc7_weight"):
        merge_fc7(snapshot, "fc8", tmp_path / "fc7.npy")
    assert not (tmp_path / "fc7.npy").exists()


def test_the_command(snapshot, tmp_path):
    command = [sys.executable, "tools/merge_fc7.py", "--model_load_dir", str(snapshot.path), "--output"]
    run = subprocess.run([*command, str(tmp_path / "a.npy")], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.endswith("a.npy: fc7_weight 7 x 3\n")
    wrong = subprocess.run([*command, str(tmp_path / "a.txt")], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 1 and wrong.stderr.startswith("error: --output") and not (tmp_path / "a.txt").exists()


def test_a_place_that_cannot_be_written_is_one_line(snapshot, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/fc7.npy cannot be written"):
        merge_fc7(snapshot, "fc7_weight", tmp_path / "file" / "fc7.npy")
