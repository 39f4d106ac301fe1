"""With ``sync_bn`` a network with BatchNorm is the same on any number of ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from settings.complete import complete_config
from settings.places import run_directory
from snapshots.layout import snapshot_path
from snapshots.reader import Snapshot
from tests.support.ranks import run_ranks
from tests.support.tiny import tiny_config

PROGRAM = Path(__file__).parent / "train_program.py"
STEPS, SAVED = 12, 5
BASE = {"train_iter": STEPS, "iter_num_in_snapshot": SAVED, "save_last_snapshot": True, "lr": 0.05, "sync_bn": True}
NETWORK = {"batch_norm": True}


def snapshot(folder: Path, step: int = STEPS) -> Path:
    config = tiny_config(folder)
    return snapshot_path(run_directory(config, config.models_root), step)


def train(folder: Path, ranks: int, **changes: Any) -> dict[int, float]:
    """Train in ``folder`` and return the loss of every step."""
    run = {"config": {**BASE, **changes}, "network": NETWORK, "folder": str(folder)}
    (results, *_) = run_ranks(PROGRAM, ranks, {"run": run})
    return dict(results["run"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def losses(folder: Path) -> dict[int, dict[int, float]]:
    return {ranks: train(folder / str(ranks), ranks) for ranks in (1, 2, 4)}


def test_one_rank_is_not_changed_at_all(folder: Path, losses: dict[int, dict[int, float]]) -> None:
    assert train(folder / "plain", 1, sync_bn=False) == losses[1]


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_agree(folder: Path, losses: dict[int, dict[int, float]], ranks: int) -> None:
    assert list(losses[ranks]) == list(range(1, STEPS + 1)) == list(losses[1])
    np.testing.assert_allclose(list(losses[ranks].values()), list(losses[1].values()), rtol=1e-5)
    one, many = (Snapshot.open(snapshot(folder / str(n))).backbone() for n in (1, ranks))
    assert one.keys() == many.keys() and "bn0_moving_var" in one
    for name in one:
        np.testing.assert_allclose(many[name], one[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_without_it_they_do_not(folder: Path, losses: dict[int, dict[int, float]]) -> None:
    apart = train(folder / "apart", 2, sync_bn=False)
    differences = [abs(apart[step] / losses[1][step] - 1) for step in losses[1]]
    assert max(differences) > 1e-2


@pytest.mark.parametrize("ranks", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_run_goes_on_on_another_number_of_ranks(
    folder: Path, losses: dict[int, dict[int, float]], ranks: int
) -> None:
    start = str(snapshot(folder / "2", SAVED))
    continued = train(folder / f"on{ranks}", ranks, model_load_dir=start)
    assert list(continued) == list(range(SAVED + 1, STEPS + 1))
    np.testing.assert_allclose(list(continued.values()), list(losses[1].values())[SAVED:], rtol=1e-5)


def test_ranks_agree_in_a_residual_network(tmp_path: Path) -> None:
    """Many layers of BatchNorm, on sums and on strided branches, one with a fixed gamma, and dropout."""
    sizes = {"image_size": 12, "emb_size": 5, "lr": 0.002, "train_iter": 5, "sync_bn": True}
    sequences = []
    for ranks in (1, 2):
        run = {"config": sizes, "small": "residual", "folder": str(tmp_path / str(ranks))}
        (results, *_) = run_ranks(PROGRAM, ranks, {"run": run})
        sequences.append([loss for _, loss in results["run"]])
    assert len(sequences[0]) == 5
    np.testing.assert_allclose(sequences[1], sequences[0], rtol=1e-4)


def test_bfloat16_goes_with_it_on_one_rank_only(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, sync_bn=True, use_bf16=True, image_size=112)
    assert complete_config(config, 1, "cpu").sync_bn
    with pytest.raises(UserError, match="--sync_bn 1 on several ranks computes in float32"):
        complete_config(config, 2, "cpu")
