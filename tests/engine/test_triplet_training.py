"""Runs with a triplet loss, in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from easydict import EasyDict

from common.errors import UserError
from data.sources.synthetic import SyntheticSource
from engine.embedder import Embedder
from engine.preflight import check_run
from settings.complete import complete_config
from settings.places import run_directory
from snapshots.reader import Snapshot, newest_snapshot
from tests.support.tiny import make_trainer, read_metrics, tiny_config, tiny_network, train
from tools.merge_fc7 import merge_fc7

NETWORK = tiny_network(dropout=0.4, batch_norm=True)


def triplet_config(folder: Path, loss: str = "triplet", **changes: Any) -> EasyDict:
    return tiny_config(folder, loss, **{"train_batch_size": 12, **changes})


def losses(config: EasyDict) -> list[float]:
    return [line["loss"] for line in read_metrics(config)]


def newest(config: EasyDict) -> Snapshot:
    return Snapshot.open(newest_snapshot(run_directory(config, config.models_root)))


def log_text(config: EasyDict) -> str:
    return (run_directory(config, config.log_dir) / "train.log").read_text()


def test_the_network_that_chooses_is_the_one_that_is_trained(tmp_path: Path) -> None:
    """Triplets are semi-hard for the network as it is, so each of the first batch has a loss below alpha."""
    config = triplet_config(tmp_path, train_iter=1, data_rand_mirror=False, triplet_alpha=0.1)
    train(config, tiny_network())
    (first,) = read_metrics(config)
    assert first["acc"] == 1.0 and 0 < first["loss"] < 0.1
    assert first["lossvalue"] == first["loss"]
    assert "bag 0: eval 60 images..  found triplets " in log_text(config)


def separation(trainer: Any, source: SyntheticSource) -> float:
    """Return the share of triplets whose negative is farther than the positive."""
    images = np.stack([source.read(i)[0].transpose(2, 0, 1) for i in range(len(source))])
    embeddings = Embedder(trainer.train_step.backbone, trainer.train_step.world, len(images))(images)
    labels = source.labels(np.arange(len(source)))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines, same = unit @ unit.T, labels[:, None] == labels
    pairs = same & ~np.eye(len(labels), dtype=bool)
    return np.mean([(cosines[a][~same[a]] < cosines[a, p]).mean() for a, p in np.argwhere(pairs)])


@pytest.mark.parametrize("loss", ["triplet", "atriplet"])
def test_people_come_apart(tmp_path: Path, loss: str) -> None:
    few = {"num_classes": 6, "total_img_num": 24, "images_per_identity": 4, "triplet_bag_size": 24}
    config = triplet_config(tmp_path, loss, **few, train_iter=60, lr=0.1, data_rand_mirror=False)
    trainer, source = make_trainer(config, tiny_network())
    before = separation(trainer, source)
    trainer.run(source)
    assert before < 0.6 and separation(trainer, source) > 0.9


@pytest.mark.parametrize("saved", [3, pytest.param(7, marks=pytest.mark.slow)])
def test_a_resumed_run_repeats_the_losses(tmp_path: Path, saved: int) -> None:
    """In the middle of a bag's triplets; with workers, which read ahead."""
    straight = triplet_config(tmp_path / "straight", train_iter=20, iter_num_in_snapshot=saved, num_workers=1)
    train(straight, NETWORK)
    given = run_directory(straight, straight.models_root) / f"snapshot_{saved}"
    again = triplet_config(tmp_path / "again", train_iter=20, model_load_dir=str(given))
    train(again, NETWORK)
    assert losses(again) == losses(straight)[saved:]
    state = Snapshot.open(given).data()
    assert state["triplets"].shape[1] == 3 and state["next_bag"] >= 1


def test_a_snapshot_has_no_class_rows(tmp_path: Path) -> None:
    config = triplet_config(tmp_path, train_iter=1, save_last_snapshot=True)
    train(config, tiny_network())
    snapshot = newest(config)
    files = {path.name for path in snapshot.path.iterdir()}
    assert files == {"backbone.safetensors", "data.safetensors", "momentum.safetensors", "snapshot.json"}
    assert snapshot.is_full and not snapshot.has_classes
    with pytest.raises(UserError, match="has no class rows: it is a backbone-only snapshot or one of a triplet loss"):
        merge_fc7(snapshot, "fc7_weight", tmp_path / "fc7.npy")
    other = tiny_config(tmp_path / "other", "arcface", model_load_dir=str(snapshot.path))
    with pytest.raises(UserError, match="has no class rows, this run's loss needs some; try --pretrained"):
        make_trainer(other, tiny_network())


def test_a_snapshot_with_class_rows_is_for_pretrained(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "arcface", train_iter=1, save_last_snapshot=True)
    train(config, tiny_network())
    other = triplet_config(tmp_path / "other", model_load_dir=str(newest(config).path))
    with pytest.raises(UserError, match="has class rows, this run's loss needs none; try --pretrained"):
        make_trainer(other, tiny_network())


def test_pieces_hold_whole_triplets(tmp_path: Path) -> None:
    whole = triplet_config(tmp_path / "whole", train_iter=6)
    pieces = triplet_config(tmp_path / "pieces", train_iter=6, gradient_accumulation=4)
    for config in (whole, pieces):
        train(config, tiny_network())
    np.testing.assert_allclose(losses(pieces), losses(whole), rtol=1e-5)
    assert len(set(losses(whole))) == 6


def test_a_run_ends_when_no_triplets_are_left(tmp_path: Path) -> None:
    config = triplet_config(tmp_path, triplet_alpha=1e-9, save_last_snapshot=True)
    trainer = train(config, tiny_network())
    assert trainer.progress.step == 0 and newest(config).about["step"] == 0
    text = log_text(config)
    assert text.count("found triplets 0") == 10
    assert "stopping at step 0: no triplet violates the margin any more" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_batch_size": 10}, "--train_batch_size 10 over 2 .* is 5 images for each: --loss triplet needs a mul"),
        ({"gradient_accumulation": 3}, "is 6 images for each, 2 for each of --gradient_accumulation 3: --loss triplet"),
    ],
)
def test_a_batch_that_cuts_triplets_is_an_error(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        complete_config(triplet_config(tmp_path, **changes), 2, "cpu")


def test_too_few_images_are_an_error_before_a_rank_is_started(tmp_path: Path) -> None:
    config = triplet_config(tmp_path, triplet_bag_size=94, network="y1", image_size=112)
    with pytest.raises(UserError, match="--triplet_bag_size 94 is more than the 93 images that 31 people have with"):
        check_run(complete_config(config, 1, "cpu"), 1)
