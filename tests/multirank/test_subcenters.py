"""Whole trainings with several rows per class: resumed, on other numbers of ranks, with Partial FC."""

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
STEPS, SAVED, CLASSES, CENTRES, WIDTH = 6, 3, 31, 3, 16
FORMS = {
    "full": {},
    "partial": {"partial_fc": True, "sample_ratio": 0.2},
    "all_rows": {"partial_fc": True, "sample_ratio": 1.0},
}


def run(folder: Path, **changes: Any) -> dict[str, Any]:
    config = {"train_iter": STEPS, "lr": 0.05, "save_last_snapshot": True, "num_subcenters": CENTRES, **changes}
    return {"folder": str(folder), "config": config}


def saved(folder: Path, step: int) -> Path:
    config = tiny_config(folder)
    return snapshot_path(run_directory(config, config.models_root), step)


def rows(folder: Path, step: int) -> dict[str, np.ndarray]:
    return Snapshot.open(saved(folder, step)).head_rows(0, CLASSES)


def test_runs_resume_and_all_rows_arrive_on_other_numbers_of_ranks(tmp_path: Path) -> None:
    runs = {}
    for form, changes in FORMS.items():
        folder = tmp_path / form
        runs[f"{form} straight"] = run(folder / "straight", **changes, iter_num_in_snapshot=SAVED)
        given = str(saved(folder / "straight", SAVED))
        runs[f"{form} again"] = run(folder / "again", **changes, model_load_dir=given)
    losses = run_ranks(PROGRAM, 2, runs)[0]
    for form in FORMS:
        straight, again = losses[f"{form} straight"], losses[f"{form} again"]
        assert len(straight) == STEPS and again == straight[SAVED:], form
        ends = [rows(tmp_path / form / name, STEPS) for name in ("straight", "again")]
        for name in ("fc7_weight", "fc7_weight_momentum"):
            assert ends[0][name].shape == (CLASSES, CENTRES, WIDTH)
            np.testing.assert_array_equal(ends[0][name], ends[1][name], err_msg=f"{form} {name}")
        moved = (rows(tmp_path / form / "straight", SAVED)["fc7_weight_momentum"] != 0).any(axis=2)
        assert (moved == moved[:, :1]).all()  # a sampled class brings all of its rows
        assert moved.all() == (form != "partial")
    assert losses["all_rows straight"] == losses["full straight"] != losses["partial straight"]

    again = run(
        tmp_path / "one", model_load_dir=str(saved(tmp_path / "full" / "straight", SAVED)), lr=0.0, train_iter=SAVED + 1
    )
    run_ranks(PROGRAM, 1, {"again": again})
    before, after = rows(tmp_path / "full" / "straight", SAVED), rows(tmp_path / "one", SAVED + 1)
    np.testing.assert_array_equal(before["fc7_weight"], after["fc7_weight"])
