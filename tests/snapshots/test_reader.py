from __future__ import annotations

import errno
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from ops.heads.class_shards import ClassShards
from snapshots import writer as module
from snapshots.layout import HeadShard, snapshot_path
from snapshots.reader import Snapshot, newest_snapshot
from snapshots.writer import Contents, SnapshotWriter

CLASSES, WIDTH = 31, 4
RNG = np.random.default_rng(0)
BACKBONE = {"conv0_weight": RNG.normal(0, 1, (2, 3)).astype(np.float32), "bn0_moving_var": np.ones(2, np.float32)}
MOMENTS = {"momentum": {"conv0_weight": RNG.normal(0, 1, (2, 3)).astype(np.float32)}}
HEAD = {
    "fc7_weight": RNG.normal(0, 1, (CLASSES, WIDTH)).astype(np.float32),
    "fc7_bias": RNG.normal(0, 1, CLASSES).astype(np.float32),
    "fc7_weight_momentum": RNG.normal(0, 1, (CLASSES, WIDTH)).astype(np.float32),
}


def write(path: Path, shards: int = 1, full: bool = True, **about: Any) -> Snapshot:
    """Write a snapshot from as many threads as there are shards; each is a rank."""
    layout = ClassShards(CLASSES, shards)
    pieces = [HeadShard(i, shards, *layout.real_rows(i), {}) for i in range(shards)]
    listed = [{"file": piece.file, "rows": [piece.start, piece.stop]} for piece in pieces]
    facts = {"step": 5, "position": 40, "highest_accuracy": 0.5, "config": {"network": "tiny"}, **about}
    if full:
        facts["fc7"] = {"num_classes": CLASSES, "emb_size": WIDTH, "shards": listed}
    barrier = threading.Barrier(shards)
    errors: list[BaseException] = []

    def be_rank(rank: int) -> None:
        world = SimpleNamespace(rank=rank, size=shards, barrier=lambda: barrier.wait(20))
        start, stop = layout.real_rows(rank)
        rows = {name: array[start:stop] for name, array in HEAD.items()}
        shard = HeadShard(rank, shards, start, stop, rows) if full else None
        try:
            writer = SnapshotWriter(world.rank, world.barrier)
            writer.start(path, Contents(facts, BACKBONE, MOMENTS if full else {}), shard)
            writer.finish()
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=be_rank, args=(rank,)) for rank in range(shards)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    real = [error for error in errors if not isinstance(error, threading.BrokenBarrierError)]
    if real:
        raise real[0]
    return Snapshot.open(path)


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_round_trip(tmp_path: Path, shards: int) -> None:
    found = write(tmp_path / "snapshot_5", shards)
    assert found.is_full and found.about["step"] == 5 and found.about["position"] == 40
    assert_same(found.backbone(), BACKBONE)
    assert_same(found.moments()["momentum"], MOMENTS["momentum"])
    assert_same(found.head_rows(0, CLASSES), HEAD)
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot_5"]
    heads = [f"fc7-{i:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    files = {path.name for path in (tmp_path / "snapshot_5").iterdir()}
    assert files == {*heads, "backbone.safetensors", "momentum.safetensors", "snapshot.json"}


@pytest.mark.parametrize("shards", [1, 2, 3, 30])
def test_any_rows_come_from_any_shards(tmp_path: Path, shards: int) -> None:
    found = write(tmp_path / "snapshot_5", shards)
    for start in (0, 1, 10, 11, 15, 16, 21, 30, 31):
        for stop in {start, min(start + 1, 31), min(start + 8, 31), 31}:
            assert_same(found.head_rows(start, stop), {name: array[start:stop] for name, array in HEAD.items()})


def test_shards_that_are_not_asked_for_are_not_read(tmp_path: Path) -> None:
    found = write(tmp_path / "snapshot_5", 3)
    damage_byte(tmp_path / "snapshot_5" / "fc7-00000-of-00003.safetensors")
    assert_same(found.head_rows(11, 31), {name: array[11:] for name, array in HEAD.items()})
    with pytest.raises(UserError, match="fc7-00000-of-00003.safetensors does not match its checksum"):
        found.head_rows(10, 31)


def test_backbone_only(tmp_path: Path) -> None:
    found = write(tmp_path / "snapshot_5", full=False)
    assert not found.is_full
    assert_same(found.backbone(), BACKBONE)
    with pytest.raises(UserError, match="backbone-only snapshot and cannot resume"):
        found.moments()


@pytest.mark.parametrize("failing", ["fc7-00001-of-00002", "backbone", "momentum"])
@pytest.mark.parametrize("older", [False, True])
def test_a_failure_while_writing_leaves_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, older: bool
) -> None:
    path = tmp_path / "snapshot_5"
    if older:
        write(path, step=4)
    save_file = module.save_file

    def run_full(arrays: dict[str, np.ndarray], target: Path) -> str:
        if failing in target.name:
            target.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return save_file(arrays, target)

    monkeypatch.setattr(module, "save_file", run_full)
    with pytest.raises(UserError, match=f"{failing}.safetensors cannot be written .*No space left"):
        write(path, shards=2)
    assert path.exists() == older
    assert newest_snapshot(tmp_path) == (path if older else None)
    if older:
        assert Snapshot.open(path).about["step"] == 4
    monkeypatch.undo()
    assert write(path, shards=2).about["step"] == 5  # the leftovers do not disturb the next attempt
    assert [each.name for each in tmp_path.iterdir()] == ["snapshot_5"]


def damage_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def drop(path: Path, key: str) -> None:
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != key}))


DAMAGES = {
    "truncated weights": ("backbone.safetensors", truncate, r"backbone.safetensors is of \d+ bytes, expected"),
    "truncated head": ("fc7-00000-of-00001.safetensors", truncate, r"of \d+ bytes, expected"),
    "changed weights": ("backbone.safetensors", damage_byte, "does not match its checksum"),
    "changed momentum": ("momentum.safetensors", damage_byte, "does not match its checksum"),
    "changed head": ("fc7-00000-of-00001.safetensors", damage_byte, "does not match its checksum"),
    "missing weights": ("backbone.safetensors", Path.unlink, "backbone.safetensors is missing"),
    "missing momentum": ("momentum.safetensors", Path.unlink, "momentum.safetensors is missing"),
    "missing manifest": ("snapshot.json", Path.unlink, "is not a snapshot: it has no snapshot.json"),
    "truncated manifest": ("snapshot.json", truncate, "snapshot.json is damaged"),
    "binary manifest": ("snapshot.json", lambda p: p.write_bytes(b"\xff\x00"), "snapshot.json is damaged"),
    "list manifest": ("snapshot.json", lambda p: p.write_text("[]"), "not of format"),
    "newer version": ("snapshot.json", lambda p: edit(p, version=2), "not of format .*version 1"),
    "other format": ("snapshot.json", lambda p: edit(p, format="x"), "not of format"),
    "other settings": ("snapshot.json", lambda p: edit(p, config={"network": 3}), "its config cannot be right"),
    "other files": ("snapshot.json", lambda p: edit(p, files={"a": 1}), "its files cannot be right"),
    "a number for files": ("snapshot.json", lambda p: edit(p, files=1.5), "its files cannot be right"),
    "other rows": ("snapshot.json", lambda p: edit(p, fc7=[], step="5"), "its step, fc7 cannot be right"),
    "no files": ("snapshot.json", lambda p: drop(p, "files"), "is damaged: it lacks files"),
    "no position": ("snapshot.json", lambda p: drop(p, "position"), "is damaged: it lacks position"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_clear_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "snapshot_5"
    write(path)
    file, damage, message = DAMAGES[name]
    damage(path / file)
    with pytest.raises(UserError, match=message) as caught:
        found = Snapshot.open(path)
        found.backbone(), found.moments(), found.head_rows(0, CLASSES)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_newest_is_the_one_with_most_steps(tmp_path: Path) -> None:
    assert newest_snapshot(tmp_path / "absent") is None
    for step in (9, 10, 100):
        write(snapshot_path(tmp_path, step))
    (tmp_path / ".snapshot_200.tmp").mkdir()
    (tmp_path / "snapshot_x").mkdir()
    assert newest_snapshot(tmp_path) == tmp_path / "snapshot_100"
