"""The walk of docs/architecture.md names the files that a batch passes: a traced run meets these and no others."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.ofrecord.records import encode_train_record, write_record
from data.sources.ofrecord import OFRecordSource
from ops import KERNELS
from tests.support.tiny import IMAGE_SIZE, make_trainer, tiny_config, tiny_network

ROOT = Path(__file__).resolve().parents[1]
SECTION = (ROOT / "docs" / "architecture.md").read_text().partition("## A walk")[2]
WALK = re.findall(r"^\| \d+ \| `([\w/]+\.py)`", SECTION, re.MULTILINE)
NAMED = set(re.findall(r"`([\w/]+\.py)`", SECTION))


def trace(folder: Path, num_workers: int) -> list[str]:
    """Return the files of the repository that two steps of training call functions of, in the order of first calls."""
    parts = folder / "parts"
    parts.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with open(parts / "part-00000", "wb") as handle:
        for number in range(93):
            face = rng.integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
            write_record(handle, encode_train_record(cv2.imencode(".jpg", face)[1].tobytes(), number % 31))
    config = tiny_config(
        folder, train_iter=2, data_rand_mirror=True, partial_fc=True, sample_ratio=0.5, num_workers=num_workers
    )
    trainer, _ = make_trainer(config, tiny_network(dropout=0.4, batch_norm=True))
    source = OFRecordSource(parts, 31, IMAGE_SIZE, 0)
    met: dict[str, None] = {}

    def note(frame: Any, event: str, argument: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(f"{ROOT}/") and "/.venv/" not in path and "/tests/" not in path:
            met.setdefault(path[len(f"{ROOT}/") :])

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        trainer.run(source)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return list(met)


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[str]]:
    """The files met without workers, where this process does their work, and with one."""
    if "oneDNN" not in KERNELS:
        pytest.skip("the walk is that of a CPU with the kernels")
    folder = tmp_path_factory.mktemp("walk")
    return {workers: trace(folder / str(workers), workers) for workers in (0, 1)}


def test_the_walk_is_short() -> None:
    assert len(WALK) <= 30
    assert len(set(WALK)) == len(WALK)
    assert f"These {len(WALK)} Python files" in SECTION


def test_the_walk_is_complete(met: dict[int, list[str]]) -> None:
    assert {file for files in met.values() for file in files} - NAMED == set()


def test_a_batch_meets_all_files_of_the_walk(met: dict[int, list[str]]) -> None:
    assert set(WALK) - {file for files in met.values() for file in files} == set()
