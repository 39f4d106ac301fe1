"""The moving average of the weights against float64, when a run resumes, and in verification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backbones.execution.backbone import Backbone
from backbones.graph.initializer import initial_arrays
from data.verification.verification_set import VerificationSet
from engine.embedder import Embedder
from engine.verify import make_verifier
from launch.rank import RankReporter
from launch.world import join_world
from ops import flow
from settings.places import run_directory
from snapshots.layout import snapshot_path
from snapshots.reader import Snapshot
from tests.support.tiny import IMAGE_SIZE, make_trainer, read_losses, read_metrics, tiny_config, tiny_network, train

NETWORK = tiny_network(dropout=0.4, batch_norm=True)
STEPS, DECAY = 5, 0.6
WAYS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "pieces": {"gradient_accumulation": 2, "use_bf16": True, "freeze_backbone_steps": 2},
    "adamw": {"optimizer": "adamw", "lr": 0.01, "partial_fc": True, "sample_ratio": 0.5},
}


def settings(folder: Path, **changes: Any) -> Any:
    return tiny_config(folder, **{"train_iter": STEPS, "iter_num_in_snapshot": 1, "ema_decay": DECAY, **changes})


def read(folder: Path, step: int) -> Snapshot:
    config = tiny_config(folder)
    return Snapshot.open(snapshot_path(run_directory(config, config.models_root), step))


def average_of(folder: Path, first: int) -> dict[str, np.ndarray]:
    """Return the average in float64 after all steps, of the weights after each step from ``first`` on."""
    averages = {name: array.astype(np.float64) for name, array in initial_arrays(NETWORK, 1).items()}
    for updates, step in enumerate(range(first, STEPS + 1)):
        decay = min(DECAY, (1 + updates) / (10 + updates))
        for name, array in read(folder, step).backbone().items():
            averages[name] = decay * averages[name] + (1 - decay) * array
    return averages


@pytest.mark.parametrize("way", WAYS)
def test_the_average_equals_float64_and_goes_on_bit_for_bit(tmp_path: Path, way: str) -> None:
    whole = settings(tmp_path / "whole", **WAYS[way])
    train(whole, NETWORK)
    last, frozen = read(tmp_path / "whole", STEPS), WAYS[way].get("freeze_backbone_steps", 0)
    average = last.average().backbone()
    assert last.about["ema"] == {"decay": DECAY, "updates": STEPS - frozen}
    for name, expected in average_of(tmp_path / "whole", 1 + frozen).items():
        np.testing.assert_allclose(average[name], expected, rtol=0, atol=1e-6 * np.abs(expected).max(), err_msg=name)
    assert (average["fc1_weight"] != last.backbone()["fc1_weight"]).mean() > 0.9

    given = read(tmp_path / "whole", 3).path
    again = settings(tmp_path / "again", model_load_dir=str(given), **WAYS[way])
    train(again, NETWORK)
    assert read_losses(again) == read_losses(whole)[3:]
    for name, array in read(tmp_path / "again", STEPS).average().backbone().items():
        assert array.tobytes() == average[name].tobytes(), name


def test_an_average_leaves_the_training_as_it_is_and_can_begin_later(tmp_path: Path) -> None:
    plain, averaged = settings(tmp_path / "plain", ema_decay=0.0), settings(tmp_path / "averaged")
    train(plain, NETWORK)
    train(averaged, NETWORK)
    assert read_losses(plain) == read_losses(averaged)
    assert read(tmp_path / "plain", STEPS).average() is None

    given = read(tmp_path / "plain", 3)
    later = settings(tmp_path / "later", model_load_dir=str(given.path), train_iter=4)
    train(later, NETWORK)
    found, first, weights = read(tmp_path / "later", 4), given.backbone(), read(tmp_path / "later", 4).backbone()
    assert found.about["ema"]["updates"] == 1
    for name, array in found.average().backbone().items():
        np.testing.assert_allclose(array, 0.1 * first[name] + 0.9 * weights[name], rtol=1e-5, atol=1e-7)


def test_both_are_verified_and_the_average_decides(tmp_path: Path) -> None:
    """The lengths of the embeddings tell which weights were verified."""
    images = np.random.default_rng(1).integers(0, 256, (8, 3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    pairs = VerificationSet("made", images, np.arange(8), np.array([True, False, True, False]))
    config = settings(tmp_path, validation_interval=1, ckpt=2, val_targets=["made"], nrof_folds=2)
    trainer, source = make_trainer(config, NETWORK)
    world = join_world("cpu")
    trainer.verifier = make_verifier(config, trainer.train_step.backbone, world, RankReporter(), [pairs])
    trainer.run(source)
    assert trainer._saver.best.accuracy == max(line["accuracy"] for line in read_metrics(config, "made_ema"))
    for kind, step in (("made", 3), ("made_ema", 3), ("made_ema", STEPS), ("made", STEPS)):
        snapshot = read(tmp_path, step)
        of = snapshot if kind == "made" else snapshot.average()
        embed = Embedder(Backbone(NETWORK, of.backbone()).to_global(world.placement, flow.sbp.broadcast), world, 8)
        both = np.stack([embed(images), embed(np.ascontiguousarray(images[..., ::-1]))])
        expected = np.linalg.norm(both, axis=2).mean()
        (found,) = (line["xnorm"] for line in read_metrics(config, kind) if line["step"] == step)
        assert found == pytest.approx(expected, rel=1e-5), (kind, step)
    quiet = settings(tmp_path / "quiet")
    train(quiet, NETWORK)
    assert read_losses(config) == read_losses(quiet)
