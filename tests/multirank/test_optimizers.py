"""Whole trainings on real ranks with AdamW, clipping, accumulation, loss scaling and schedules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from settings.places import run_directory
from snapshots.layout import snapshot_path
from snapshots.reader import Snapshot
from tests.support.ranks import run_ranks
from tests.support.tiny import tiny_config

PROGRAM = Path(__file__).parent / "train_program.py"
STEPS, SAVED, CLASSES = 6, 3, 31
ADAMW = {"optimizer": "adamw", "lr": 0.01, "clip_gradient": 1.0, "weight_decay": 0.1}
NETWORK = {"dropout": 0.4}
SPHEREFACE = {"loss": "sphereface", "loss_lambda_gamma": 10.0, "loss_lambda_min": 0.0, "loss_lambda_base": 100.0}
PARTIAL = {"partial_fc": True, "sample_ratio": 0.3, "lr": 0.05, "clip_gradient": 2.0}
RUNS: dict[str, dict[str, Any]] = {
    "whole": ADAMW,
    "whole_pieces": {**ADAMW, "gradient_accumulation": 4},
    "replicated": {**ADAMW, "model_parallel": False, "gradient_accumulation": 2},
    "partial": PARTIAL,
    "partial_pieces": {**PARTIAL, "gradient_accumulation": 2},
    "partial_scaled": {**PARTIAL, "fp16_scale": 1024.0},
    "moving": SPHEREFACE,
    "moving_pieces": {**SPHEREFACE, "gradient_accumulation": 2},
}
QUICK = {
    1: ["whole", "whole_pieces", "partial", "partial_scaled", "moving", "moving_pieces"],
    2: ["whole", "whole_pieces", "replicated", "partial", "partial_pieces"],
}


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, np.ndarray]]:
    """The losses of each run by the number of ranks."""
    found = {}
    for ranks, names in QUICK.items():
        folder = tmp_path_factory.mktemp(f"ranks{ranks}")
        runs = {
            name: {"folder": str(folder / name), "config": {"train_iter": STEPS, **RUNS[name]}, "network": NETWORK}
            for name in names
        }
        logged = run_ranks(PROGRAM, ranks, runs)[0]
        found[ranks] = {name: np.array([loss for _, loss in lines]) for name, lines in logged.items()}
        assert all(len(np.unique(values)) == STEPS for values in found[ranks].values())
    return found


@pytest.mark.parametrize(("ranks", "name"), [(1, "whole"), (2, "whole"), (2, "partial"), (1, "moving")])
def test_pieces_of_a_batch_equal_the_whole(losses: dict[int, dict[str, np.ndarray]], ranks: int, name: str) -> None:
    """Images, dropout and class samples are the same, and SphereFace's lambda, which goes by the step."""
    np.testing.assert_allclose(losses[ranks][f"{name}_pieces"], losses[ranks][name], rtol=1e-5)


@pytest.mark.parametrize("name", ["whole", "whole_pieces", "replicated"])
def test_ranks_and_forms_agree(losses: dict[int, dict[str, np.ndarray]], name: str) -> None:
    np.testing.assert_allclose(losses[2][name], losses[1]["whole"], rtol=1e-4)


def test_a_loss_scale_divides_out_exactly(losses: dict[int, dict[str, np.ndarray]]) -> None:
    np.testing.assert_array_equal(losses[1]["partial_scaled"], losses[1]["partial"])


def saved_path(folder: Path, step: int) -> Path:
    config = tiny_config(folder)
    return snapshot_path(run_directory(config, config.models_root), step)


def read_moments(kind: str) -> Callable[[Snapshot], dict[str, np.ndarray]]:
    return lambda snapshot: snapshot.moments()[kind]


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_an_interrupted_run_of_adamw_repeats_the_losses(tmp_path: Path, ranks: int) -> None:
    settings = {
        **PARTIAL,
        **ADAMW,
        "gradient_accumulation": 2,
        "fp16_scale": 4096.0,
        "fp16_scale_window": 2,
        "lr_schedule": "cosine",
        "warmup_steps": 2,
        "train_iter": STEPS,
    }
    runs = {
        "straight": {"iter_num_in_snapshot": SAVED},
        "again": {"save_last_snapshot": True, "model_load_dir": str(saved_path(tmp_path / "straight", SAVED))},
    }
    runs = {
        name: {
            "folder": str(tmp_path / name),
            "config": {**settings, **own},
            "network": {**NETWORK, "batch_norm": True},
        }
        for name, own in runs.items()
    }
    losses = run_ranks(PROGRAM, ranks, runs)[0]
    assert losses["straight"][SAVED:] == losses["again"]
    ends = [Snapshot.open(saved_path(tmp_path / name, STEPS)) for name in runs]
    readers = [Snapshot.backbone, lambda s: s.head_rows(0, CLASSES), *map(read_moments, ("momentum", "variance"))]
    for read in readers:
        first, second = map(read, ends)
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert ends[0].optimizer == ends[1].optimizer
    scale = {"value": 32768.0, "good_steps": 0}
    assert ends[0].optimizer == {"name": "adamw", "updates": STEPS, "frozen_updates": 0, "loss_scale": scale}
    assert {"fc7_weight", "fc7_weight_momentum", "fc7_weight_variance"} == ends[0].head_rows(0, 1).keys()
