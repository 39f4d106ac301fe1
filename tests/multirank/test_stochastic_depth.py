"""Runs that skip units at random draw the same on two ranks when they resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from settings.places import run_directory
from snapshots.layout import snapshot_path
from tests.support.ranks import run_ranks
from tests.support.tiny import tiny_config

PROGRAM = Path(__file__).with_name("train_program.py")


def test_a_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    config, runs = tiny_config(tmp_path / "whole"), dict[str, Any]()
    saved = snapshot_path(run_directory(config, config.models_root), 2)
    for name, own in {"whole": {"iter_num_in_snapshot": 2}, "again": {"model_load_dir": str(saved)}}.items():
        sizes = {"image_size": 12, "emb_size": 5, "train_iter": 4}
        runs[name] = {"folder": str(tmp_path / name), "small": "skipping", "config": {**sizes, **own}}
    losses = run_ranks(PROGRAM, 2, runs)[0]
    assert losses["again"] == losses["whole"][2:]
