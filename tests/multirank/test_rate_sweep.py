"""A sweep trains as a training does, at rates of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "sweep_program.py"
STEPS = 6
PARTIAL = {"partial_fc": True, "sample_ratio": 0.5, "train_iter": STEPS}


@pytest.fixture(scope="module")
def losses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    folder = tmp_path_factory.mktemp("sweep")
    warm = PARTIAL | {"lr": 0.05, "warmup_steps": 5}
    runs = {
        "training": {"config": PARTIAL},
        "constant": {"config": PARTIAL | {"lr": 0.5}, "rates": [0.02] * STEPS},
        "warm": {"config": warm},
        "rising": {"config": warm, "rates": [0.01, 0.02, 0.03, 0.04, 0.05, 0.05]},
        "diverging": {"config": PARTIAL, "rates": [1e4] * STEPS},
    }
    whole = {"image_size": 24, "net_blocks": [1, 1, 1, 1], "net_output": "FC", "train_iter": 3}
    rates = {"sweep_lowest": 0.01, "sweep_highest": 0.04}
    runs["whole"] = {"config": whole | rates, "result": str(folder / "swept.json")}
    for name, run in runs.items():
        run["folder"] = str(folder / name)
    found = run_ranks(PROGRAM, 2, runs)
    assert found[1].items() <= found[0].items() and len(found[1]) == 3  # a sweep has its losses on each rank
    return found[0] | {"whole": json.loads((folder / "swept.json").read_text())}


def test_a_sweep_at_one_rate_is_a_training_at_it(losses: dict[str, list[float]]) -> None:
    np.testing.assert_allclose(losses["constant"], losses["training"], rtol=1e-6)


def test_rates_of_a_warm_up_give_its_losses(losses: dict[str, list[float]]) -> None:
    np.testing.assert_allclose(losses["rising"], losses["warm"], rtol=1e-6)
    assert np.abs(np.subtract(losses["rising"], losses["constant"])).max() > 1e-3


def test_a_sweep_that_diverges_ends(losses: dict[str, list[float]]) -> None:
    assert 1 <= len(losses["diverging"]) < STEPS


def test_the_first_rank_writes_rates_and_losses(losses: dict) -> None:
    np.testing.assert_allclose(losses["whole"]["rates"], [0.01, 0.02, 0.04])
    assert len(losses["whole"]["losses"]) == 3 and np.isfinite(losses["whole"]["losses"]).all()
