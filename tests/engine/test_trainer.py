from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from easydict import EasyDict

import sample_config
from common.errors import UserError
from engine.preflight import starting_snapshot
from engine.trainer import Trainer
from launch.rank import RankReporter
from ops.heads.class_shards import initial_class_rows
from settings.choices import TRIPLET_LOSSES
from settings.places import run_directory
from snapshots.reader import Snapshot, newest_snapshot
from tests.support.observe import without_graphs
from tests.support.tiny import make_trainer, read_losses, read_metrics, tiny_config, tiny_network, train

NETWORK = tiny_network(dropout=0.4, batch_norm=True)


def snapshots(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("models/*/snapshot_*"))


def newest(folder: Path) -> Snapshot:
    config = tiny_config(folder)
    return Snapshot.open(newest_snapshot(run_directory(config, config.models_root)))


def arrays(snapshot: Snapshot) -> dict[str, np.ndarray]:
    return {**snapshot.backbone(), **snapshot.head_rows(0, 31)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the snapshot of a run of three steps, which no test changes."""
    folder = tmp_path_factory.mktemp("trained")
    train(tiny_config(folder, train_iter=3, save_last_snapshot=True), tiny_network())
    return folder


@pytest.fixture(scope="module")
def logged_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of the same run of 14 steps, which logs every fourth step or each; by the steps between lines."""
    folders = {every: tmp_path_factory.mktemp(f"every-{every}") for every in (4, 1)}
    for every, folder in folders.items():
        train(log_config(folder, loss_print_frequency=every), NETWORK)
    return folders


def log_config(folder: Path, **changes: Any) -> EasyDict:
    return tiny_config(folder, train_iter=14, lr_steps=[8], scales=[0.1], save_last_snapshot=True, **changes)


def test_snapshots_are_written_when_due_and_at_the_end(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, train_iter=7, iter_num_in_snapshot=3, save_last_snapshot=True), NETWORK)
    assert snapshots(tmp_path) == ["snapshot_3", "snapshot_6", "snapshot_7"]
    about = newest(tmp_path).about
    assert (about["step"], about["position"], about["epoch"], about["seed"], about["ranks"]) == (7, 56, 0, 1, 1)
    assert about["preprocessing"] == {"mean": 127.5, "scale": 0.0078125, "inside_network": True}
    assert about["input"] == {"channels": 3, "height": 16, "width": 16, "order": "RGB", "range": [0, 255]}
    assert about["emb_size"] == 16 and about["config"]["loss_m2"] == 0.5


def test_a_run_of_the_same_seed_repeats_bit_for_bit(logged_runs: dict[int, Path]) -> None:
    first, second = (arrays(newest(folder)) for folder in logged_runs.values())
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


@pytest.mark.parametrize("loss", [loss for loss in sample_config.loss if loss not in TRIPLET_LOSSES])
def test_a_few_images_are_learned_by_heart(tmp_path: Path, loss: str) -> None:
    config = tiny_config(tmp_path, loss, total_img_num=8, train_iter=10, lr=0.1, data_rand_mirror=False)
    train(config, tiny_network())
    losses = [value for _, value in read_losses(config)]
    assert losses[-1] < 0.2 * losses[0]
    assert read_metrics(config)[-1]["acc"] > read_metrics(config)[0]["acc"]


def test_a_new_run_does_not_overwrite_an_older_one(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train_iter=2, iter_num_in_snapshot=1)
    elsewhere = tiny_config(tmp_path / "elsewhere", train_iter=3, save_last_snapshot=True)
    with without_graphs():
        train(config, NETWORK)
        train(elsewhere, NETWORK)
    before = arrays(newest(tmp_path))
    with pytest.raises(UserError, match=r"snapshot_2 is there from an earlier run; --resume 1 continues it"):
        train(config, NETWORK)
    other = str(newest_snapshot(run_directory(elsewhere, elsewhere.models_root)))
    with pytest.raises(UserError, match="earlier run"):
        starting_snapshot({**config, "model_load_dir": other})
    with pytest.raises(UserError, match="earlier run"):  # later steps would lie beside those of the older run
        starting_snapshot({**config, "model_load_dir": str(newest(tmp_path).path.with_name("snapshot_1"))})
    assert starting_snapshot({**config, "model_load_dir": str(newest(tmp_path).path)}).about["step"] == 2
    assert starting_snapshot({**config, "resume": True}).about["step"] == 2
    assert starting_snapshot({**config, "resume": True, "model_load_dir": other}).about["step"] == 2
    assert (
        starting_snapshot({**elsewhere, "models_root": str(tmp_path / "new"), "model_load_dir": other}).about["step"]
        == 3
    )
    assert starting_snapshot({**config, "models_root": str(tmp_path / "new"), "resume": True}) is None
    assert all((arrays(newest(tmp_path))[name] == array).all() for name, array in before.items())


def test_backbone_only_snapshots_do_not_resume(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train_iter=1, save_last_snapshot=True, ckpt_embedding=True)
    with without_graphs():
        train(config, NETWORK)
    assert not newest(tmp_path).is_full
    assert {path.name for path in newest(tmp_path).path.iterdir()} == {"backbone.safetensors", "snapshot.json"}
    with pytest.raises(UserError, match="backbone-only snapshot and cannot resume a run; give it to --pretrained"):
        starting_snapshot({**config, "resume": True})


@pytest.mark.parametrize(
    ("changes", "network", "message"),
    [
        ({"num_classes": 30}, {}, "num_classes=31, this run 30: classes can be added, not taken away"),
        ({"num_subcenters": 2}, {}, "num_subcenters=1, this run 2; try --pretrained"),
        ({"loss": "softmax"}, {}, "no fc7_bias: it was trained with another loss; try --pretrained"),
        ({}, {"batch_norm": True}, r"\(network y1\) does not fit: .*bn0_"),
    ],
)
def test_a_snapshot_of_another_run_is_refused(
    trained: Path, tmp_path: Path, changes: dict[str, Any], network: dict[str, Any], message: str
) -> None:
    given = str(newest(trained).path)
    with pytest.raises(UserError, match=message):
        make_trainer(tiny_config(tmp_path, model_load_dir=given, **changes), tiny_network(**network))


@pytest.mark.parametrize("partial_fc", [False, True])
def test_classes_can_be_added(trained: Path, tmp_path: Path, partial_fc: bool) -> None:
    before = newest(trained).head_rows(0, 31)
    more = {"num_classes": 37, "partial_fc": partial_fc, "sample_ratio": 0.5, "save_last_snapshot": True}
    given = {"model_load_dir": str(newest(trained).path), "lr": 0.0, "train_iter": 4}
    config = tiny_config(tmp_path, **given, **more)
    train(config, tiny_network())
    after = newest(tmp_path).head_rows(0, 37)
    np.testing.assert_array_equal(after["fc7_weight"][:31], before["fc7_weight"])
    np.testing.assert_array_equal(after["fc7_weight"][31:], initial_class_rows(config.seed, 31, 37, 16))
    assert np.abs(before["fc7_weight_momentum"]).max() > 0


def test_a_snapshot_that_says_nothing_of_state_and_subcenters_is_taken(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    manifest = newest(tmp_path).path / "snapshot.json"
    about = json.loads(manifest.read_text())
    assert (about["fc7"].pop("loss_state"), about["fc7"].pop("num_subcenters")) == ({}, 1)
    manifest.write_text(json.dumps(about))
    trainer = train(tiny_config(tmp_path, train_iter=4, resume=True), tiny_network())
    assert trainer.progress.step == 4


def test_diverging_run_stops_with_advice_and_keeps_the_last_good_snapshot(tmp_path: Path) -> None:
    steps = {"lr_steps": [0, 3], "scales": [1e-32, 1.0]}  # lr 0.01, from step 3 on 1e30
    config = tiny_config(tmp_path, "softmax", lr=1e30, train_iter=10, iter_num_in_snapshot=1, **steps)
    with pytest.raises(UserError) as caught:
        train(config, tiny_network())
    message = str(caught.value)
    assert "the snapshots so far are untouched: resume from the last one with a smaller --lr" in message
    assert "\n" not in message
    kept = Snapshot.open(newest_snapshot(run_directory(config, config.models_root)))
    assert kept.about["step"] >= 3
    assert all(np.isfinite(array).all() for array in {**kept.backbone(), **kept.head_rows(0, 31)}.values())


def test_broken_weights_are_never_saved(tmp_path: Path) -> None:
    trainer, _ = make_trainer(tiny_config(tmp_path), tiny_network())
    arrays = trainer.train_step.backbone.named_arrays()
    arrays["fc1_bias"][3] = np.nan
    trainer.train_step.backbone.load_arrays(arrays)
    trainer.progress.step = 1
    with pytest.raises(UserError, match="fc1_bias holds NaN or Inf after step 1; .*smaller --lr"):
        trainer._saver.save()
        trainer._saver.finish()
    assert snapshots(tmp_path) == []


class StoppingReporter(RankReporter):
    """A user's interrupt after ``step``."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._beats = 0
        self._step = step

    def heartbeat(self) -> None:
        self._beats += 1
        self.stop_requested = self._beats >= self._step


def test_a_stop_ends_the_next_step_and_saves(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, train_iter=100)
    trainer: Trainer = train(config, NETWORK, StoppingReporter(4))
    assert trainer.progress.step == 5
    assert snapshots(tmp_path) == ["snapshot_5"]
    log = (run_directory(config, config.log_dir) / "train.log").read_text()
    assert log.rstrip().endswith("stopped after step 5; resume with --resume 1")


def test_log_lines(logged_runs: dict[int, Path]) -> None:
    config = log_config(logged_runs[4])
    text = (run_directory(config, config.log_dir) / "train.log").read_text()
    pattern = re.compile(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d Epoch\[(\d+)\] Batch \[(\d+)/12\]\tSpeed: [\d.]+ samples/sec\tacc=[\d.]+\t"
        r"lossvalue=([\d.]+)\tlr=([\d.]+)\tstep=(\d+)\tdata_wait=[\d.]+%\tETA \d+:\d\d:\d\d"
    )
    *lines, last = text.splitlines()
    assert last.endswith("snapshot_14")
    found = [pattern.fullmatch(line).groups() for line in lines]
    assert [(epoch, batch, lr, step) for epoch, batch, _, lr, step in found] == [
        ("0", "4", "0.02", "4"),
        ("0", "8", "0.02", "8"),
        ("0", "12", "0.002", "12"),
        ("1", "2", "0.002", "14"),
    ]
    metrics = read_metrics(config)
    assert [f"{line['loss']:.6f}" for line in metrics] == [loss for _, _, loss, _, _ in found]
    assert [line["step"] for line in metrics] == [4, 8, 12, 14]

    assert [line["lossvalue"] for line in metrics] == [line["loss"] for line in metrics]

    single = [loss for _, loss in read_losses(log_config(logged_runs[1]))]
    means = [np.mean(single[a:b]) for a, b in ((0, 4), (4, 8), (8, 12), (12, 14))]
    np.testing.assert_allclose([line["loss"] for line in metrics], means, rtol=1e-6)


@pytest.mark.parametrize("loss", ["intra", "inter"])
def test_lossvalue_is_the_cross_entropy_without_the_second_term(tmp_path: Path, loss: str) -> None:
    values = {}
    for weight in (0.0, 3.0):
        config = tiny_config(tmp_path / str(weight), loss, loss_b=weight, train_iter=2)
        train(config, tiny_network())
        values[weight] = read_metrics(config)[0]
    assert values[0.0]["loss"] == values[0.0]["lossvalue"] == pytest.approx(values[3.0]["lossvalue"], rel=1e-6)
    assert 0 < abs(values[3.0]["loss"] - values[3.0]["lossvalue"]) < 3.0
    text = (run_directory(config, config.log_dir) / "train.log").read_text()
    assert f"lossvalue={values[3.0]['lossvalue']:.6f}" in text


def test_the_manifest_is_json_that_others_can_read(trained: Path) -> None:
    about = json.loads((newest(trained).path / "snapshot.json").read_text())
    assert about["format"] == "insightface-oneflow-snapshot" and about["version"] == 1
    assert set(about["versions"]) == {"python", "oneflow", "numpy"}
