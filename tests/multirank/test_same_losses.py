"""Without BatchNorm the number of ranks and the form of the head change nothing but rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sample_config
from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "train_program.py"
STEPS = 20
RUNS = {
    **{loss: {"config": {"loss": loss}} for loss in sample_config.loss},
    "softmax_no_bias": {"config": {"loss": "softmax", "fc7_no_bias": True}},
    "dropout": {"config": {"loss": "arcface"}, "network": {"dropout": 0.4}},
    "workers": {"config": {"loss": "nsoftmax", "num_workers": 1, "data_rand_mirror": True}},
    "replicated": {"config": {"loss": "arcface", "model_parallel": False}},
    "replicated_softmax": {"config": {"loss": "softmax", "model_parallel": False}},
}


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, np.ndarray]]:
    """Losses [STEPS] by number of ranks and run."""
    result = {}
    for ranks in (1, 2, 4):
        folder = tmp_path_factory.mktemp(f"ranks{ranks}")
        runs = {name: {**run, "folder": str(folder / name)} for name, run in RUNS.items()}
        logged = run_ranks(PROGRAM, ranks, runs)[0]
        for name, lines in logged.items():
            assert [step for step, _ in lines] == list(range(1, STEPS + 1)), (ranks, name)
        result[ranks] = {name: np.array([loss for _, loss in lines]) for name, lines in logged.items()}
    return result


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("name", RUNS)
def test_ranks_agree(losses: dict[int, dict[str, np.ndarray]], name: str, ranks: int) -> None:
    np.testing.assert_allclose(losses[ranks][name], losses[1][name], rtol=1e-4)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_replicated_equals_model_parallel(losses: dict[int, dict[str, np.ndarray]], ranks: int) -> None:
    np.testing.assert_allclose(losses[ranks]["replicated"], losses[ranks]["arcface"], rtol=1e-4)
    np.testing.assert_allclose(losses[ranks]["replicated_softmax"], losses[ranks]["softmax"], rtol=1e-4)


@pytest.mark.parametrize("name", RUNS)
def test_the_runs_learn_and_differ(losses: dict[int, dict[str, np.ndarray]], name: str) -> None:
    sequence = losses[1][name]
    assert len(np.unique(sequence)) == STEPS
    assert sequence[-5:].mean() < sequence[:5].mean()
    twins = {"replicated": "arcface", "replicated_softmax": "softmax"}
    others = [other for other in RUNS if twins.get(other, other) != twins.get(name, name)]
    assert all(np.abs(losses[1][other] - sequence).max() > 1e-3 for other in others)
