"""A training goes on from class rows that were joined from the files of several ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interchange.converted_snapshot import ConvertedModel, write_converted
from interchange.foreign_model import ForeignModel
from settings.places import run_directory
from snapshots.reader import Snapshot, newest_snapshot
from tests.support.tiny import read_losses, tiny_config, tiny_network, train
from tests.support.torch_files import save
from tools.model_convert.torch_2_oneflow import with_rows

RANKS = 8


def losses_from(folder: Path, rows: np.ndarray, snapshot: Snapshot) -> list[float]:
    """Train some steps from the backbone of ``snapshot`` and ``rows``."""
    config, network = tiny_config(folder, train_iter=6), tiny_network()
    write_converted(
        folder / "model", ConvertedModel(config, network, snapshot.backbone(), {"fc7_weight": rows}, []), {}
    )
    config.model_load_dir = str(folder / "model")
    train(config, network)
    return [loss for _, loss in read_losses(config)]


@pytest.mark.slow
def test_the_loss_goes_on_from_joined_rows(tmp_path: Path) -> None:
    config, network = tiny_config(tmp_path / "first", train_iter=120, lr=0.05, save_last_snapshot=True), tiny_network()
    train(config, network)
    before = [loss for _, loss in read_losses(config)]
    snapshot = Snapshot.open(newest_snapshot(run_directory(config, config.models_root)))
    rows, classes = snapshot.head_rows(0, config.num_classes)["fc7_weight"], config.num_classes
    counts = [classes // RANKS + (rank < classes % RANKS) for rank in range(RANKS)]
    for rank, piece in enumerate(np.split(rows, np.cumsum(counts)[:-1])):
        save(tmp_path / f"rank_{rank}_softmax_weight.pt", piece)
    foreign = ForeignModel("backbone.pth", network, snapshot.backbone())
    joined = with_rows(foreign, str(tmp_path / "backbone.pth"), "auto", 0).head["fc7_weight"]
    after, shuffled = (losses_from(tmp_path / name, r, snapshot) for name, r in (("a", joined), ("b", joined[::-1])))
    assert np.mean(before[-12:]) < 0.8 * np.mean(before[:12])
    assert np.mean(after) < 1.05 * np.mean(before[-12:])
    assert np.mean(shuffled) > 1.3 * np.mean(before[-12:])
