"""Runs with a triplet loss on two ranks: they resume bit for bit, and end together when no triplets are left."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings.places import run_directory
from snapshots.layout import snapshot_path
from tests.support.ranks import run_ranks
from tests.support.tiny import tiny_config

PROGRAM = Path(__file__).parent / "train_program.py"
STEPS, SAVED = 14, 4


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["triplet", "atriplet"])
def test_a_resumed_run_repeats_the_losses(tmp_path: Path, loss: str) -> None:
    common = {"loss": loss, "train_batch_size": 12, "train_iter": STEPS}
    config = tiny_config(tmp_path / "straight", loss)
    given = str(snapshot_path(run_directory(config, config.models_root), SAVED))
    network = {"dropout": 0.4, "batch_norm": True}
    runs = {
        "straight": {"config": {**common, "iter_num_in_snapshot": SAVED, "num_workers": 1}, "network": network},
        "again": {"config": {**common, "model_load_dir": given}, "network": network},
        "none": {"config": {**common, "triplet_alpha": 1e-9}, "network": network},
    }
    losses = run_ranks(PROGRAM, 2, {name: {**run, "folder": str(tmp_path / name)} for name, run in runs.items()})[0]
    assert len(losses["straight"]) == STEPS and losses["again"] == losses["straight"][SAVED:]
    assert losses["none"] == []
