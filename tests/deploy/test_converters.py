"""Every converter, as users run it, on a small network; skipped where its package is not installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from deploy.candidates import NAMES, WAYS
from deploy.ncnn_examples import blob_names
from deploy.registry import MNN, NCNN, NNCF, OPENVINO, TO_MNN, TO_NCNN, TO_OPENVINO, TO_TFLITE, Runtime
from tests.support.deployed import cosines, write_pairs, write_small_snapshot
from tests.support.deployments import require_installed
from tests.support.strangers import orl
from tools.deploy import check, quantize, to_mnn, to_ncnn, to_openvino, to_tflite

ANY_ACCURACY = ("--max_accuracy_drop", "100")  # of a network that was not trained
INT8 = ("--calibration", "pairs.bin", "--images", "12", *ANY_ACCURACY)
CASES = {
    "openvino float32": (to_openvino, (TO_OPENVINO,), "model.xml", ()),
    "openvino float16": (to_openvino, (TO_OPENVINO,), "model.xml", ("--precision", "float16")),
    "openvino int8": (quantize, (NNCF, OPENVINO), "model.xml", ("--engine", "openvino", *INT8)),
    "ncnn float16": (to_ncnn, (TO_NCNN, NCNN), "model.param", ()),
    "ncnn float32": (to_ncnn, (TO_NCNN, NCNN), "model.param", ("--precision", "float32")),
    "ncnn bf16": (to_ncnn, (TO_NCNN, NCNN), "model.param", ("--precision", "bf16", *ANY_ACCURACY)),
    "mnn float32": (to_mnn, (TO_MNN, MNN), "", ()),
    "mnn float16": (to_mnn, (TO_MNN, MNN), "", ("--precision", "float16")),
    "mnn int8": (to_mnn, (TO_MNN, MNN), "", ("--precision", "int8", *ANY_ACCURACY)),
    "tflite float32": (to_tflite, (TO_TFLITE,), "", ()),
    "tflite float16": (to_tflite, (TO_TFLITE,), "", ("--precision", "float16")),
}
SUFFIXES = {to_mnn: ".mnn", to_tflite: ".tflite"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converters")
    write_small_snapshot(folder / "small")
    write_pairs(folder / "pairs.bin")
    return folder


def run(monkeypatch: pytest.MonkeyPatch, tool: object, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", [tool.__name__, *words])
    tool.main()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_result_is_like_the_model(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys, case: str) -> None:
    tool, needs, main_file, words = CASES[case]
    require_installed(*needs)
    monkeypatch.chdir(folder)
    target = case.replace(" ", "_") + SUFFIXES.get(tool, "")
    flags = ("--model_load_dir", "small", "--pairs", "pairs.bin", "--speed", "0")
    run(monkeypatch, tool, *flags, "--output", target, *words)
    row = next(line for line in capsys.readouterr().out.splitlines() if re.match(r"(openvino|ncnn|MNN|LiteRT), ", line))
    least = float(row.split()[-6])
    assert least > {"float32": 0.99999, "float16": 0.99999, "bf16": 0.99, "int8": 0.95}[case.split()[1]]
    assert (folder / target / main_file).stat().st_size > 1000


@pytest.mark.slow
def test_a_refused_folder_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_installed(NNCF, OPENVINO)
    monkeypatch.chdir(folder)
    flags = ("--model_load_dir", "small", "--pairs", "pairs.bin", "--speed", "0", "--min_cosine", "1")
    with pytest.raises(Exception, match="refused is not written"):
        run(monkeypatch, quantize, *flags, "--engine", "openvino", *INT8, "--output", "refused")
    assert not list(folder.glob("*refused*"))


@pytest.mark.slow
def test_the_example_for_ncnn_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_installed(TO_NCNN, NCNN)
    monkeypatch.chdir(folder)
    run(
        monkeypatch, to_ncnn, "--model_load_dir", "small", "--pairs", "pairs.bin", "--speed", "0", "--output", "example"
    )
    cv2.imwrite(str(folder / "example" / "face.png"), orl(1, 1))
    command = [NCNN.environment.python, "example.py", "face.png"]
    shown = subprocess.run(command, cwd=folder / "example", capture_output=True, text=True, check=True).stdout
    found = np.array([float(line) for line in shown.split()])
    from deploy.runtimes.ours import load  # here because OneFlow takes seconds

    face = orl(1, 1)[..., ::-1].transpose(2, 0, 1)[None]
    expected = load("small", 112, 1).embed(np.ascontiguousarray(face, np.float32))
    assert cosines(found[None], expected)[0] > 0.9999


@pytest.mark.slow
def test_all_runtimes_agree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    run(monkeypatch, check, "small", "--pairs", "pairs.bin", "--speed", "0", "--json", "table.json")
    rows = json.loads((folder / "table.json").read_text())["rows"]
    assert [row["runtime"] for row in rows] == ["this project", *NAMES]
    limits = {way.name: {"float32": 0.99999, "float16": 0.999, "bf16": 0.99}[way.precision] for way in WAYS}
    ran = [row for row in rows[1:] if "is not installed" not in row["note"]]
    assert len(ran) >= 3
    for row in ran:
        assert row["note"] == "" and row["cosine_least"] > limits[row["runtime"]], row


def test_names_of_blobs_are_read() -> None:
    param = "7767517\n3 3\nInput in0 0 1 in0\nConvolution c 1 1 in0 1 0=8\nInnerProduct fc 1 1 1 out0 0=16\n"
    assert blob_names(param) == ("in0", "out0")


@pytest.mark.parametrize("runtime", [way.runtime for way in WAYS], ids=NAMES)
def test_each_runtime_has_a_module(runtime: Runtime) -> None:
    root = Path(__file__).resolve().parents[2] / "deploy"
    assert (root / f"{runtime.module.replace('.', '/')}.py").is_file()
