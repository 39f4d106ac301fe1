from __future__ import annotations

import os
from pathlib import Path

from engine.board import Board


def test_settings_may_be_paths_with_any_bytes(tmp_path: Path) -> None:
    board = Board(tmp_path, None, print)
    board.add_settings({"dataset_dir": os.fsdecode(b"\xc0\xee"), "lr": 0.1}, ["loss"], 0)
    board.close()
    (file,) = tmp_path.iterdir()
    assert rb"| dataset_dir | \udcc0\udcee |" in file.read_bytes()
