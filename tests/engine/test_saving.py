from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from backbones import build_network
from engine.saving import BestSoFar
from launch.rank import RankReporter
from ops import flow
from ops.heads.layout import HeadLayout
from ops.heads.options import HeadOptions
from ops.heads.partial_fc import PartialFCHead
from ops.runtime.tensors import local_view
from settings.places import run_directory
from snapshots.class_rows import load_head
from snapshots.layout import HeadShard, describe_network
from snapshots.reader import Snapshot
from snapshots.writer import Contents, SnapshotWriter
from tests.support.observe import without_graphs
from tests.support.tiny import make_trainer, read_metrics, tiny_config, tiny_network


@pytest.mark.parametrize(
    ("network", "mean", "scale"),
    [
        ({"net_name": "fresnet", "num_layers": 18}, 127.5, 0.0078125),
        ({"net_name": "fresnet", "num_layers": 18, "net_input": 2}, 0.0, 1.0),
        ({"net_name": "iresnet", "num_layers": 18}, 127.5, 1 / 127.5),
    ],
)
def test_the_preprocessing_is_that_of_the_network(network, mean, scale):
    graph = build_network({"net_output": "GAP", "image_size": 32, "emb_size": 16} | network)
    about = describe_network(graph)
    assert about["preprocessing"] == {"mean": mean, "scale": scale, "inside_network": True}
    assert (about["input"]["height"], about["emb_size"]) == (32, 16)


def test_rows_are_loaded_a_part_at_a_time(tmp_path: Path) -> None:
    classes, width = 300_000, 32  # five parts
    rng = np.random.default_rng(0)
    saved = {name: rng.standard_normal((classes, width), np.float32) for name in ("fc7_weight", "fc7_weight_momentum")}
    shard = HeadShard(0, 1, 0, classes, saved)
    fc7 = {"num_classes": classes, "emb_size": width, "shards": [{"file": shard.file, "rows": [0, classes]}]}
    about = {"step": 1, "position": 8, "highest_accuracy": 0.0, "config": {"network": "tiny"}, "fc7": fc7}
    writer = SnapshotWriter()
    writer.start(tmp_path / "snapshot_1", Contents(about, {}), shard, background=False)
    snapshot = Snapshot.open(tmp_path / "snapshot_1")
    options = HeadOptions(classes + 5, width, partial_fc=True, sample_ratio=0.001, train_batch_size=8)
    head = PartialFCHead(options, HeadLayout.model_parallel(flow.placement("cpu", ranks=[0]), 0))
    bank, new = head.banks["weight"], local_view(head.weight).numpy()[classes:].copy()
    bank.load_momentum(np.ones((5, width), np.float32), slice(classes, classes + 5))

    tracemalloc.start()
    try:
        load_head(head, snapshot, None, ["momentum"], lambda kind, name, where, rows: bank.load_momentum(rows, where))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(local_view(head.weight).numpy(), np.concatenate([saved["fc7_weight"], new]))
    np.testing.assert_array_equal(bank.view_momentum()[:classes], saved["fc7_weight_momentum"])
    np.testing.assert_array_equal(bank.view_momentum()[classes:], 1)
    assert peak < sum(array.nbytes for array in saved.values()) / 2


def judge_as_train_py(history: list[list[float]]) -> list[bool]:
    """The loop of InsightFace's train.py, with its list of two numbers."""
    highest_acc, answers = [0.0, 0.0], []
    for acc_list in history:
        is_highest = False
        score = sum(acc_list)
        if acc_list[-1] >= highest_acc[-1]:
            if acc_list[-1] > highest_acc[-1]:
                is_highest = True
            elif score >= highest_acc[0]:
                is_highest = True
                highest_acc[0] = score
            highest_acc[-1] = acc_list[-1]
        answers.append(is_highest)
    return answers


def test_the_rule_is_that_of_train_py() -> None:
    rng = np.random.default_rng(0)
    for sets in (1, 2, 3):
        history = rng.integers(5, 8, (60, sets)).astype(float).tolist()
        rule = BestSoFar()
        assert [rule.update(accuracies) for accuracies in history] == judge_as_train_py(history)


def test_ties_by_hand() -> None:
    rule = BestSoFar()
    answers = [rule.update(pair) for pair in ([0.9, 0.7], [0.5, 0.7], [0.4, 0.7], [0.5, 0.7], [0.9, 0.6], [0.1, 0.8])]
    assert answers == [True, True, False, True, False, True]  # the first tie is compared with 0


class ScriptedVerifier:
    """Verifications of one set that come out as told."""

    def __init__(self, accuracies: list[float]) -> None:
        self._left = list(accuracies)

    def run(self) -> list[SimpleNamespace]:
        accuracy = self._left.pop(0)
        return [
            SimpleNamespace(
                name="set",
                accuracy=accuracy,
                accuracy_std=0.0,
                xnorm=1.0,
                auc=1.0,
                val=1.0,
                thresholds=(),
                mirrored=True,
            )
        ]


ACCURACIES = [0.6, 0.5, 0.7, 0.7, 0.65, 0.8]  # at steps 1 to 6


def run(folder: Path, accuracies: list[float], reporter: RankReporter | None = None, **changes: object) -> list[str]:
    """Return the names of the snapshots of a run that is verified at every step."""
    interval = {"iter_num_in_snapshot": 2} if changes["ckpt"] == 2 else {}
    config = tiny_config(folder, train_iter=6, validation_interval=1, **interval, **changes)
    trainer, source = make_trainer(config, tiny_network(), reporter)
    trainer.verifier = ScriptedVerifier(accuracies)
    with without_graphs():
        trainer.run(source)
    return sorted(path.name for path in run_directory(config, config.models_root).glob("*snapshot_*"))


@pytest.mark.parametrize(
    ("ckpt", "steps"),
    [
        pytest.param(0, [], marks=pytest.mark.slow),
        (1, [1, 3, 4, 6]),
        pytest.param(2, [2, 4, 6], marks=pytest.mark.slow),
        (3, [6]),
    ],
)
def test_what_is_kept(tmp_path: Path, ckpt: int, steps: list[int]) -> None:
    assert run(tmp_path, ACCURACIES, ckpt=ckpt) == [f"snapshot_{step}" for step in steps]
    verified = read_metrics(tiny_config(tmp_path), "set")
    assert [line["accuracy"] for line in verified] == ACCURACIES
    assert all((line["auc"], line["val"]) == (1.0, 1.0) for line in verified)


class Impatient(RankReporter):
    """Asks to stop after ``steps`` steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._left = steps

    def heartbeat(self) -> None:
        self._left -= 1
        self.stop_requested = self._left <= 0


@pytest.mark.slow
def test_the_best_is_replaced_after_a_break(tmp_path: Path) -> None:
    assert run(tmp_path, ACCURACIES, Impatient(3), ckpt=3) == ["snapshot_4"]  # better, and where it stopped
    about = Snapshot.open(next(tmp_path.glob("models/*/snapshot_4"))).about
    assert (about["best_step"], about["highest_accuracy"], about["highest_tied_sum"]) == (4, 0.7, 0.7)
    assert run(tmp_path, ACCURACIES[4:], ckpt=3, resume=True) == ["snapshot_6"]


@pytest.mark.slow
def test_a_worse_end_leaves_the_best(tmp_path: Path) -> None:
    kept = run(tmp_path, [0.6, 0.5, 0.4, 0.3], Impatient(3), ckpt=3)
    assert kept == ["snapshot_1", "snapshot_4"]
    assert run(tmp_path, [0.5, 0.9], ckpt=3, resume=True) == ["snapshot_4", "snapshot_6"]


def test_a_stop_without_snapshots_says_so(tmp_path: Path) -> None:
    assert run(tmp_path, ACCURACIES, Impatient(3), ckpt=0) == []
    (log,) = tmp_path.glob("log/*/train.log")
    assert "stopped after step 4; --ckpt 0 keeps no snapshot" in log.read_text()
