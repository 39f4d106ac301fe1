"""A sweep trains as a training does, at rates of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.rate_trials import score_trial
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
    falling = PARTIAL | {"train_iter": 2 * STEPS, "lr_steps": [2 * STEPS - 4], "scales": [0.1]}
    limits = {"sweep_lowest": 0.02, "sweep_highest": 0.3, "sweep_trial_steps": STEPS}
    runs["trials"] = {"config": falling | limits, "first": 0.1}
    runs["trial"] = {"config": PARTIAL, "rates": [0.025] * (STEPS - 2) + [0.0025] * 2}
    whole = {"image_size": 24, "net_blocks": [1, 1, 1, 1], "net_output": "FC"}
    rates = {"sweep_lowest": 0.01, "sweep_highest": 0.04, "sweep_steps": 3, "sweep_trial_steps": STEPS}
    runs["whole"] = {"config": whole | rates, "result": str(folder / "swept.json")}
    for name, run in runs.items():
        run["folder"] = str(folder / name)
    found = run_ranks(PROGRAM, 2, runs)
    assert found[1].items() <= found[0].items() and len(found[1]) == 5  # a sweep has its losses on each rank
    return found[0] | {"whole": json.loads((folder / "swept.json").read_text())}


def test_a_sweep_at_one_rate_is_a_training_at_it(losses: dict[str, list[float]]) -> None:
    np.testing.assert_allclose(losses["constant"], losses["training"], rtol=1e-6)


def test_rates_of_a_warm_up_give_its_losses(losses: dict[str, list[float]]) -> None:
    np.testing.assert_allclose(losses["rising"], losses["warm"], rtol=1e-6)
    assert np.abs(np.subtract(losses["rising"], losses["constant"])).max() > 1e-3


def test_a_sweep_that_diverges_ends(losses: dict[str, list[float]]) -> None:
    assert 1 <= len(losses["diverging"]) < STEPS


def test_trials_begin_at_the_start_and_end_around_the_best(losses: dict) -> None:
    scores = dict(losses["trials"])
    assert list(scores)[:2] == [0.1, 0.025] and scores.keys() <= {0.025, 0.05, 0.1, 0.2}
    best = min(scores, key=scores.get)
    assert {2 * best, best / 2} & {0.025, 0.05, 0.1, 0.2} <= scores.keys()
    assert scores[0.025] == pytest.approx(score_trial(losses["trial"], STEPS), rel=1e-6)


def test_the_first_rank_writes_rates_losses_and_trials(losses: dict) -> None:
    np.testing.assert_allclose(losses["whole"]["rates"], [0.01, 0.02, 0.04])
    assert len(losses["whole"]["losses"]) == 3 and np.isfinite(losses["whole"]["losses"]).all()
    assert losses["whole"]["trials"] == []  # three steps suggest nothing to begin with
