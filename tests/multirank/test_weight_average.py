"""The average of the weights on several ranks: the mean of their statistics, and exact on resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from settings.places import run_directory
from snapshots.layout import snapshot_path
from snapshots.reader import Snapshot
from tests.support.ranks import run_ranks
from tests.support.tiny import tiny_config

PROGRAM = Path(__file__).parent / "train_program.py"
STEPS, SAVED, DECAY = 5, 3, 0.5
NETWORK = {"dropout": 0.4, "batch_norm": True}


def run(folder: Path, **changes: Any) -> dict[str, Any]:
    config = {"train_iter": STEPS, "iter_num_in_snapshot": 1, "ema_decay": DECAY, **changes}
    return {"folder": str(folder), "config": config, "network": NETWORK}


def saved(folder: Path, step: int) -> Path:
    config = tiny_config(folder)
    return snapshot_path(run_directory(config, config.models_root), step)


def read(folder: Path, step: int) -> Snapshot:
    return Snapshot.open(saved(folder, step))


def move(average: dict[str, np.ndarray], weights: dict[str, np.ndarray], updates: int) -> dict[str, np.ndarray]:
    share = 1 - min(DECAY, (1 + updates) / (10 + updates))
    return {name: array + share * (weights[name] - array.astype(np.float64)) for name, array in average.items()}


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-6 * np.abs(array).max(), err_msg=name)


def test_the_average_goes_on_bit_for_bit_and_on_another_number_of_ranks(tmp_path: Path) -> None:
    given = str(saved(tmp_path / "straight", SAVED))
    runs = {"straight": run(tmp_path / "straight"), "again": run(tmp_path / "again", model_load_dir=given)}
    run_ranks(PROGRAM, 2, runs)
    run_ranks(PROGRAM, 1, {"alone": run(tmp_path / "alone", model_load_dir=given, train_iter=SAVED + 1)})
    averages = {step: read(tmp_path / "straight", step).average().backbone() for step in (SAVED, SAVED + 1, STEPS)}
    for name, array in read(tmp_path / "again", STEPS).average().backbone().items():
        assert array.tobytes() == averages[STEPS][name].tobytes(), name
    for folder in ("straight", "alone"):
        found = read(tmp_path / folder, SAVED + 1)
        assert found.about["ema"]["updates"] == SAVED + 1
        assert_close(found.average().backbone(), move(averages[SAVED], found.backbone(), SAVED))
