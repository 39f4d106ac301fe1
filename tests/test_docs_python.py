"""The code of docs/python.md runs, each block by itself in a folder as ``make demo`` and a user's photos leave it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from backbones import build_network
from backbones.graph.initializer import initial_arrays
from interchange.onnx.writer import write_onnx

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "python.md").read_text()
SECTIONS = (section.partition("\n") for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:])
BLOCKS = {title: "".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.M)) for title, _, text in SECTIONS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("python")
    (folder / "demo").mkdir()
    network = build_network({"net_name": "fmobilefacenet", "emb_size": 128, "net_output": "GDC"})
    (folder / "demo" / "y1.onnx").write_bytes(write_onnx(network, initial_arrays(network, 0), {}).SerializeToString())
    (folder / "photos").mkdir()
    for name in ("a", "b", "c"):
        face = np.random.default_rng(ord(name)).integers(0, 256, (112, 112, 3), np.uint8)
        cv2.imwrite(str(folder / "photos" / f"{name}.jpg"), face)
    return folder


def run(code: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_page_has_three_programs() -> None:
    assert list(BLOCKS) == ["Embed images", "Compare two images", "Take a training step"]


@pytest.mark.parametrize("name", BLOCKS)
def test_a_program_is_short(name: str) -> None:
    assert len([line for line in BLOCKS[name].splitlines() if line]) <= 10


def test_images_are_embedded(folder: Path) -> None:
    assert "(3, 128) float32" in run(BLOCKS["Embed images"], folder)


def test_two_images_are_compared(folder: Path) -> None:
    similarity, distance = map(float, run(BLOCKS["Compare two images"], folder).split())
    assert -1 <= similarity <= 1
    assert distance == pytest.approx(2 - 2 * similarity, abs=1e-6)


def test_a_training_step_lowers_the_loss(folder: Path) -> None:
    step = BLOCKS["Take a training step"]
    look = "print(head(backbone(images), *head.prepare(np.arange(8, dtype=np.int32))).loss.item())"
    before, after = map(float, run(re.sub("^(?=optimizer.step)", f"{look}\n", step, flags=re.M) + look, folder).split())
    assert after < before
