"""Snapshots contain the moving values of a loss, and a resumed run continues with them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from settings.places import run_directory
from snapshots.layout import snapshot_path
from snapshots.reader import Snapshot
from tests.support.loss_reference import FIRST_STATE
from tests.support.ranks import run_ranks
from tests.support.tiny import tiny_config

PROGRAM = Path(__file__).parent / "train_program.py"
STEPS, SAVED = 5, 3
# Values at which a few steps move the state far.
LOSSES = {
    "sphereface": {"loss_lambda_base": 9.0, "loss_lambda_gamma": 1.0, "loss_lambda_min": 0.0},
    "curricularface": {"loss_t_alpha": 0.5},
    "adaface": {"loss_t_alpha": 0.5},
}
FORMS = {"full": {}, "partial": {"partial_fc": True, "sample_ratio": 0.2}}
# Losses without moving values that have something else to repeat, each with its form.
OTHERS = {
    "uniface": FORMS["full"] | {"momentum": 0.8},
    "elastic_arcface": FORMS["partial"] | {"loss_std": 0.2, "gradient_accumulation": 2},
    "dynamic_arcface": {"total_img_num": 80},
}


def run(folder: Path, loss: str, **changes: Any) -> dict[str, Any]:
    config = {"loss": loss, "train_iter": STEPS, "save_last_snapshot": True, **LOSSES.get(loss, {}), **changes}
    return {"folder": str(folder), "config": config}


def saved(folder: Path, loss: str, step: int) -> Path:
    config = tiny_config(folder, loss)
    return snapshot_path(run_directory(config, config.models_root), step)


def state(folder: Path, loss: str, step: int) -> dict[str, float]:
    return Snapshot.open(saved(folder, loss, step)).about["fc7"]["loss_state"]


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_resumed_run_repeats_losses_and_state(tmp_path: Path, ranks: int) -> None:
    places = {(loss, form): tmp_path / loss / form for loss in LOSSES for form in FORMS}
    runs = {}
    for (loss, form), folder in places.items():
        runs[f"{loss} {form} straight"] = run(folder / "straight", loss, **FORMS[form], iter_num_in_snapshot=SAVED)
        given = str(saved(folder / "straight", loss, SAVED))
        runs[f"{loss} {form} again"] = run(folder / "again", loss, **FORMS[form], model_load_dir=given)
    losses = run_ranks(PROGRAM, ranks, runs)[0]
    for (loss, form), folder in places.items():
        straight, again = (losses[f"{loss} {form} {name}"] for name in ("straight", "again"))
        assert len(straight) == STEPS and again == straight[SAVED:], (loss, form)
        states = [state(folder / name, loss, STEPS) for name in ("straight", "again")]
        assert states[0] == states[1], (loss, form)
        assert states[0].keys() == FIRST_STATE[loss].keys()
        assert states[0] != FIRST_STATE[loss] != state(folder / "straight", loss, SAVED)


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_resumed_run_repeats_margins_and_trained_numbers(tmp_path: Path, ranks: int) -> None:
    runs = {}
    for loss, form in OTHERS.items():
        runs[f"{loss} straight"] = run(tmp_path / "straight", loss, **form, iter_num_in_snapshot=SAVED)
        given = str(saved(tmp_path / "straight", loss, SAVED))
        runs[f"{loss} again"] = run(tmp_path / "again", loss, **form, model_load_dir=given)
    losses = run_ranks(PROGRAM, ranks, runs)[0]
    for loss in OTHERS:
        straight, again = losses[f"{loss} straight"], losses[f"{loss} again"]
        assert len(straight) == STEPS and again == straight[SAVED:], loss
    found = [
        Snapshot.open(saved(tmp_path / name, "uniface", STEPS)).about["fc7"]["loss_trained"]["b"]
        for name in ("straight", "again")
    ]
    assert found[0] == found[1] and found[0].keys() == {"value", "momentum"}
    first = math.log(10 * tiny_config(tmp_path, "uniface").num_classes)
    assert 0 < abs(found[0]["value"] - first) < 1 and found[0]["momentum"] != 0


def test_another_loss_starts_with_its_own_first_values(tmp_path: Path) -> None:
    run_ranks(PROGRAM, 1, {"short": run(tmp_path / "short", "arcface", train_iter=SAVED)})
    given = str(saved(tmp_path / "short", "arcface", SAVED))
    assert state(tmp_path / "short", "arcface", SAVED) == {}
    again = run(tmp_path / "again", "sphereface", model_load_dir=given)
    run_ranks(PROGRAM, 1, {"again": again})
    assert state(tmp_path / "again", "sphereface", STEPS) == {"iteration": STEPS - SAVED}
