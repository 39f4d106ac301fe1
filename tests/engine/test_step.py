"""Training runs with the options of optimiser and loss scale, in one process."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from engine.step import StepResult, TrainStep
from settings.places import run_directory
from snapshots.reader import Snapshot, newest_snapshot
from tests.support.tiny import make_trainer, read_losses, read_metrics, tiny_config, tiny_network, train

NETWORK = tiny_network(batch_norm=True)
HUGE = 2.0**127  # gradients overflow


def newest(folder: Path) -> Snapshot:
    config = tiny_config(folder)
    return Snapshot.open(newest_snapshot(run_directory(config, config.models_root)))


def test_adamw_learns_a_few_images_by_heart(tmp_path: Path) -> None:
    settings = {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.05, "clip_gradient": 5.0, "lr_schedule": "poly"}
    config = tiny_config(tmp_path, total_img_num=8, train_iter=25, data_rand_mirror=False, **settings)
    train(config, NETWORK)
    losses = [value for _, value in read_losses(config)]
    assert losses[-1] < 0.2 * losses[0]
    rates = [line["lr"] for line in read_metrics(config)]
    assert rates == pytest.approx([0.01 * (1 - step / 25) for step in range(25)])
    assert all(line["gradient_norm"] > 0 for line in read_metrics(config))


def test_overflows_halve_the_loss_scale_and_change_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    one_batch = {"total_img_num": 8, "train_batch_size": 8, "train_iter": 60, "data_rand_mirror": False}
    config = tiny_config(tmp_path, fp16_scale=HUGE, fp16_scale_window=100, save_last_snapshot=True, **one_batch)
    trainer = train(config, tiny_network())
    lines = read_metrics(config)
    assert "step 1 changed nothing, its gradients overflowed: fp16_scale is now 8.50706e+37" in capsys.readouterr().out
    skipped = [line["step"] for line in lines if "gradient_norm" not in line]
    assert skipped == list(range(1, len(skipped) + 1)) and 1 <= len(skipped) < 30
    losses = [line["loss"] for line in lines]
    assert [line["loss_scale"] for line in lines[: len(skipped)]] == [HUGE / 2 ** (i + 1) for i in range(len(skipped))]
    first = len(skipped)
    np.testing.assert_allclose(losses[: first + 1], losses[0], rtol=1e-6)  # order of the images alone
    assert losses[-1] < 0.5 * losses[0]
    about = newest(tmp_path).optimizer
    assert about["updates"] == 60 - first and about["loss_scale"] == {
        "value": HUGE / 2**first,
        "good_steps": 60 - first,
    }
    assert trainer.progress.step == 60


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_overflows_without_a_window_end_the_run(tmp_path: Path, clip: float) -> None:
    config = tiny_config(tmp_path, fp16_scale=HUGE, clip_gradient=clip)
    what = "norm of the gradient is (inf|nan) at step 1" if clip else "loss is nan at step 2"
    with pytest.raises(UserError, match=f"the {what}; .*smaller --lr"):
        train(config, NETWORK)


@pytest.mark.parametrize(("first", "then"), [("sgd", "adamw"), ("adamw", "sgd")])
def test_another_optimiser_cannot_go_on(tmp_path: Path, first: str, then: str) -> None:
    train(tiny_config(tmp_path, optimizer=first, lr=0.01, train_iter=1, save_last_snapshot=True), NETWORK)
    given = {"model_load_dir": str(newest(tmp_path).path)}
    with pytest.raises(
        UserError, match=f"is of --optimizer {first}, which cannot resume as {then}; use --pretrained to start"
    ):
        make_trainer(tiny_config(tmp_path / "other", optimizer=then, **given), NETWORK)


def test_a_snapshot_that_says_nothing_of_its_optimiser_is_of_sgd(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"partial_fc": True, "sample_ratio": 0.5, "iter_num_in_snapshot": 2, "train_iter": 4}
    config = tiny_config(tmp_path, **settings)
    train(config, NETWORK)
    manifest = run_directory(config, config.models_root) / "snapshot_2" / "snapshot.json"
    about = json.loads(manifest.read_text())
    assert about.pop("optimizer") == {
        "name": "sgd",
        "updates": 2,
        "frozen_updates": 0,
        "loss_scale": {"value": 1.0, "good_steps": 0},
    }
    manifest.write_text(json.dumps(about))
    again = tiny_config(tmp_path / "again", **settings, model_load_dir=str(manifest.parent))
    train(again, NETWORK)
    assert read_losses(again) == read_losses(config)[2:]


class Gradients(list):
    """A list that can have weak references."""


def test_gradients_are_gone_when_the_graph_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compute, kept, alive = TrainStep.compute, [], []

    def watch(self: TrainStep, *args: object) -> StepResult:
        alive.append([reference() is not None for reference in kept])
        result = compute(self, *args)
        gradients = Gradients(result.gradients)
        kept[:] = [weakref.ref(gradients)]
        return replace(result, gradients=gradients)

    monkeypatch.setattr(TrainStep, "compute", watch)
    train(tiny_config(tmp_path, train_iter=3), NETWORK)
    assert alive == [[], [False], [False]]
