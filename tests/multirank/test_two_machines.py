"""Two nodes train one model: as separate machines (network namespaces), and on one loopback address."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from settings.places import run_directory
from snapshots.layout import snapshot_path
from snapshots.reader import Snapshot, newest_snapshot
from tests.support.nodes import LOOPBACK, Machine, NoNamespacesError, node_folder, start_nodes, two_machines
from tests.support.ranks import ROOT, free_port, rank_environment
from tests.support.supervise import assert_nothing_left, start_supervisor, wait_until
from tests.support.tiny import read_losses, tiny_config

TRAINING = Path(__file__).parent / "supervised_training.py"
STEPS = 4
JOIN = """
import os, sys
from launch.world import join_world
try:
    join_world("cpu")
except Exception as error:
    print(error, flush=True)
    os._exit(3)
sys.stdin.read()  # rank 0 serves the others
os._exit(0)
"""


@pytest.fixture(scope="module")
def machines() -> Iterator[tuple[Machine, Machine]]:
    try:
        with two_machines() as both:
            yield both
    except NoNamespacesError as error:
        pytest.skip(f"no network namespaces here: {error}")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over other numbers of threads are rounded otherwise."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def run_for(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return what ``supervised_training.py`` takes, for a run whose snapshots are below ``folder``."""
    return {"config": {"train_iter": STEPS, "save_last_snapshot": True, "models_root": str(folder), **changes}}


def command(own: Path, run: dict[str, Any]) -> list[str]:
    return [sys.executable, "-u", str(TRAINING), str(own), json.dumps(run)]


def communicate(node: subprocess.Popen) -> tuple[int, str]:
    _, err = node.communicate(timeout=300)
    return node.returncode, err


def train_on_nodes(folder: Path, machines: tuple[Machine, Machine], ranks: int) -> list[tuple[int, float]]:
    """Return the losses that node 0 logged."""
    run = run_for(folder / "models")
    with start_nodes(folder, machines, ranks, lambda own: command(own, run)) as nodes:
        assert [communicate(node) for node in nodes] == [(0, ""), (0, "")]
        for i in (0, 1):
            assert_nothing_left(node_folder(folder, i), ranks)
    return read_losses(tiny_config(node_folder(folder, 0)))


def train_on_one(folder: Path, ranks: int) -> list[tuple[int, float]]:
    folder.mkdir()
    with start_supervisor(folder, ranks, command(folder, run_for(folder / "models"))) as node:
        assert communicate(node) == (0, "")
    return read_losses(tiny_config(folder))


def newest(models: Path) -> Path | None:
    return newest_snapshot(run_directory(tiny_config(models), str(models)))


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, float]]]:
    """Folder and losses of two ranks of one node."""
    folder = tmp_path_factory.mktemp("run") / "one"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        return folder, train_on_one(folder, 2)


def test_two_machines_train_as_one_does(
    tmp_path: Path, machines: tuple[Machine, Machine], one: tuple[Path, list[tuple[int, float]]]
) -> None:
    folder, expected = one
    losses = train_on_nodes(tmp_path, machines, 1)
    assert [step for step, _ in losses] == list(range(1, STEPS + 1))
    assert losses == expected
    alone, two = (Snapshot.open(newest(models)) for models in (folder / "models", tmp_path / "models"))
    assert two.about["step"] == STEPS and two.about["ranks"] == 2 and len(two.about["fc7"]["shards"]) == 2
    for read in (
        Snapshot.backbone,
        lambda snapshot: snapshot.moments()["momentum"],
        lambda snapshot: snapshot.head_rows(0, 31),
    ):
        a, b = read(alone), read(two)
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.slow
def test_two_machines_of_two_ranks(tmp_path: Path, machines: tuple[Machine, Machine]) -> None:
    losses = train_on_nodes(tmp_path, machines, 2)
    assert losses == train_on_one(tmp_path / "one", 4)
    assert len(Snapshot.open(newest(tmp_path / "models")).about["fc7"]["shards"]) == 4


def test_two_nodes_of_one_address(tmp_path: Path, one: tuple[Path, list[tuple[int, float]]]) -> None:
    assert train_on_nodes(tmp_path, LOOPBACK, 1) == one[1]


@pytest.mark.parametrize("node", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_rank_ends_both_machines(tmp_path: Path, machines: tuple[Machine, Machine], node: int) -> None:
    run = {**run_for(tmp_path / "models", train_iter=100000, iter_num_in_snapshot=2), "die_at": [5, node]}
    with start_nodes(tmp_path, machines, 1, lambda own: command(own, run)) as nodes:
        (code, err), (other_code, other) = (communicate(nodes[i]) for i in (node, 1 - node))
        for i in (0, 1):
            assert_nothing_left(node_folder(tmp_path, i), 1)
    said = f"rank {node} of 2 failed: it ended by signal SIGKILL"
    assert (code, other_code) == (1, 1)
    assert err.splitlines()[0] == said
    assert other.splitlines()[0] == f"node {node}: {said}"
    snapshot = Snapshot.open(newest(tmp_path / "models"))
    assert snapshot.about["step"] in (2, 4)  # the last may still have been on its way
    assert len(snapshot.head_rows(0, 31)["fc7_weight"]) == 31


def test_interrupt_on_one_machine_stops_and_saves_on_both(tmp_path: Path, machines: tuple[Machine, Machine]) -> None:
    run = run_for(tmp_path / "models", train_iter=100000)
    config = tiny_config(node_folder(tmp_path, 0))
    metrics = run_directory(config, config.log_dir) / "metrics.jsonl"
    with start_nodes(tmp_path, machines, 1, lambda own: command(own, run)) as nodes:
        wait_until(lambda: metrics.is_file() and len(read_losses(config)) >= 3, 240, "first steps")
        nodes[1].send_signal(signal.SIGINT)
        ends = [communicate(node) for node in nodes]
        for i in (0, 1):
            assert_nothing_left(node_folder(tmp_path, i), 1)
    assert ends == [
        (130, "node 1 was asked to stop; stopping after this step\n"),
        (130, "stopping after this step; press Ctrl-C again to stop immediately\n"),
    ]
    step = read_losses(config)[-1][0]
    assert newest(tmp_path / "models") == snapshot_path(run_directory(config, str(tmp_path / "models")), step)


def test_a_wrong_number_is_an_error_and_no_hang() -> None:
    """What another launcher does that takes two nodes on one address for two machines."""
    port = free_port()
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", JOIN],
            env={**os.environ, **rank_environment(rank, 2, port), "LOCAL_RANK": "0"},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for rank in (0, 1)
    ]
    out = [rank.communicate(timeout=120)[0] for rank in reversed(ranks)][::-1]
    assert out[0] == "" and ranks[1].returncode == 3
    assert "rank 1 of 2 has LOCAL_RANK 0" in out[1] and "expects LOCAL_RANK 1" in out[1]
