"""The programs of docs/deploy.md run, each in a folder with the files that it names, and agree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.photos.align import TEMPLATE, align_face
from deploy.convert import run_converter
from deploy.registry import NCNN, OPENVINO, TO_NCNN, TO_OPENVINO, Runtime
from tests.support.deployed import cosines, write_small_onnx
from tests.support.deployments import require_installed
from tests.support.strangers import astronaut, orl

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "deploy.md").read_text()
SECTIONS = (section.partition("\n") for section in re.split(r"^##+ ", TEXT, flags=re.MULTILINE)[1:])
BLOCKS = {
    title: block
    for title, _, text in SECTIONS
    if (block := "".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.M)))
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy")
    write_small_onnx(folder / "y1.onnx")
    cv2.imwrite(str(folder / "face.png"), orl(1, 1))
    return folder


def run(title: str, folder: Path, python: str | Path = sys.executable, result: str = "embedding") -> np.ndarray:
    """Run the program of a section and return one of its variables."""
    code = f"{BLOCKS[title]}\nimport numpy\nnumpy.save('{result}.npy', {result})\n"
    environment = {**os.environ, "PYTHONPATH": ""}
    command = [str(python), "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return np.load(folder / f"{result}.npy")


@pytest.fixture(scope="module")
def expected(folder: Path) -> np.ndarray:
    return run("onnxruntime", folder)


def test_the_page_has_these_programs() -> None:
    names = ["Enrol and probe in one way", "onnxruntime", "The insightface package", "OpenCV", "OpenVINO", "ncnn"]
    assert list(BLOCKS) == names


@pytest.mark.parametrize("title", BLOCKS)
def test_a_program_is_short(title: str) -> None:
    assert len([line for line in BLOCKS[title].splitlines() if line]) <= 12


@pytest.mark.parametrize("title", ["The insightface package", "OpenCV"])
def test_programs_agree(title: str, folder: Path, expected: np.ndarray) -> None:
    assert cosines(run(title, folder)[None], expected[None])[0] > 0.999999


@pytest.mark.slow
@pytest.mark.parametrize(
    ("title", "runtime", "converter", "target"),
    [("OpenVINO", OPENVINO, TO_OPENVINO, "y1_openvino/model.xml"), ("ncnn", NCNN, TO_NCNN, "y1_ncnn/model.param")],
)
def test_programs_of_other_runtimes_agree(
    title: str, runtime: Runtime, converter: Runtime, target: str, folder: Path, expected: np.ndarray
) -> None:
    require_installed(runtime, converter)
    (folder / target).parent.mkdir()
    run_converter(converter, folder / "y1.onnx", folder / target)
    found = run(title, folder, runtime.environment.python)
    assert cosines(found[None], expected[None])[0] > 0.99999


@pytest.mark.slow
def test_the_program_for_onnxruntime_web_agrees(folder: Path, expected: np.ndarray) -> None:
    packages = ROOT / ".node-deploy" / "node_modules"
    node = shutil.which("node")
    if node is None or not (packages / "onnxruntime-web").is_dir():
        pytest.skip("needs Node.js and: npm install --ignore-scripts --prefix .node-deploy onnxruntime-web@1.30.0")
    (folder / "node_modules").symlink_to(packages)
    program = re.search(r"^```js\n(.*?)^```$", TEXT, re.DOTALL | re.M)[1]
    (folder / "embed.mjs").write_text(program)
    (folder / "pixels.bin").write_bytes(cv2.cvtColor(orl(1, 1), cv2.COLOR_BGR2RGBA).tobytes())
    (folder / "run.mjs").write_text(
        'import fs from "node:fs";\nimport { embed } from "./embed.mjs";\n'
        'console.log(JSON.stringify(Array.from(await embed(fs.readFileSync("pixels.bin")))));\n'
    )
    done = subprocess.run([node, "run.mjs"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = np.array(json.loads(done.stdout.splitlines()[-1]))
    assert cosines(found[None], expected[None])[0] > 0.999999


def test_the_alignment_is_that_of_the_training(folder: Path) -> None:
    photo = cv2.imread(str(astronaut()))
    cv2.imwrite(str(folder / "photo.png"), photo)
    noise = np.random.default_rng(0).normal(0, 2, (5, 2))
    landmarks = (TEMPLATE * 1.1 + noise + [150, 50]).astype(np.float32)
    np.save(folder / "landmarks.npy", landmarks)
    found = run("Enrol and probe in one way", folder, result="face")
    difference = np.abs(found.astype(int) - align_face(photo, landmarks).astype(int))
    assert difference.max() <= 1
    other = cv2.warpAffine(photo, cv2.estimateAffinePartial2D(landmarks, TEMPLATE)[0], (112, 112))
    assert np.abs(other.astype(int) - found.astype(int)).max() > 10  # which the page warns of
