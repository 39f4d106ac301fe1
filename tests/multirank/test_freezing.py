"""A frozen backbone on two ranks: its statistics, which each rank keeps, stay those that were loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backbones.graph.initializer import initial_arrays
from settings.places import run_directory
from snapshots.layout import snapshot_path
from snapshots.reader import Snapshot
from tests.support.ranks import run_ranks
from tests.support.tiny import tiny_config, tiny_network

PROGRAM = Path(__file__).parent / "train_program.py"
SETTINGS = {"freeze_backbone_steps": 2, "train_iter": 3, "iter_num_in_snapshot": 1}
RUNS = {"each": {}, "together": {"sync_bn": True}}


def test_a_frozen_backbone_stays_bit_for_bit(tmp_path: Path) -> None:
    network = {"dropout": 0.4, "batch_norm": True}
    runs = {
        name: {"config": SETTINGS | changes, "network": network, "folder": str(tmp_path / name)}
        for name, changes in RUNS.items()
    }
    run_ranks(PROGRAM, 2, runs)
    first = initial_arrays(tiny_network(**network), 1)
    for name in RUNS:
        root = run_directory(config := tiny_config(tmp_path / name), config.models_root)
        found = [Snapshot.open(snapshot_path(root, step)).backbone() for step in (1, 2, 3)]
        for array in first:
            assert found[0][array].tobytes() == found[1][array].tobytes() == first[array].tobytes(), (name, array)
            assert np.abs(found[2][array] - first[array]).max() > 0, (name, array)
