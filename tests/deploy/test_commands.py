"""The commands of tools/deploy as users run them, with what the project's own environment has."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from common.errors import UserError
from deploy.faces import Faces
from deploy.measure import Candidate, Result
from deploy.registry import OURS
from tests.support.deployed import write_faces, write_pairs, write_small_onnx, write_small_snapshot
from tools.deploy import check, quantize, to_mnn, to_ncnn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, pairs, a folder of faces, and the int8 file that quantize.py made of the model."""
    folder = tmp_path_factory.mktemp("deploy")
    write_small_snapshot(folder / "small")
    write_small_onnx(folder / "small.onnx")
    write_pairs(folder / "pairs.bin")
    write_faces(folder / "faces")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(patch, quantize, *MODEL, *INT8, "--output", "int8.onnx")
    return folder


MODEL = ("--model_load_dir", "small", "--pairs", "pairs.bin", "--speed", "0")
INT8 = ("--calibration", "faces", "--images", "12", "--min_cosine", "0.9", "--max_accuracy_drop", "100")


def run(monkeypatch: pytest.MonkeyPatch, tool: object, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", [tool.__name__, *words])
    tool.main()


def test_a_result_that_is_alike_is_kept(folder: Path) -> None:
    assert onnx.load(folder / "int8.onnx").graph.node[0].op_type == "Mul"


def test_what_differs_is_refused_and_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """With results of two axes, of which the int8 file's lie 8 degrees off."""

    def embed(candidate: Candidate, faces: Faces, size: int) -> Result:
        assert (size, len(faces.issame)) == (112, 20)
        assert candidate.runtime is OURS or Path(candidate.file).stat().st_size > 1000
        angle = np.radians(8 if "int8" in candidate.label else 0)
        return Result(np.tile([[np.cos(angle), np.sin(angle)]], (2 * len(faces.images), 1)), 1.0, None)

    monkeypatch.chdir(folder)
    monkeypatch.setattr("deploy.convert.embed_faces", embed)
    words = [*MODEL, *INT8[:4], "--output", "bad.onnx", "--min_cosine"]
    with pytest.raises(UserError, match=r"bad\.onnx is not written: its least cosine to the model is 0\.990268"):
        run(monkeypatch, quantize, *words, "0.9903")
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "calibrating with 12 images of faces"
    assert [line.split("  ")[0] for line in shown[2:]] == [
        "this project, float32",
        "onnxruntime, float32",
        "onnxruntime, int8",
    ]
    assert not list(folder.glob("*bad*"))


def test_a_table_of_runtimes(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(folder)
    model = onnx.load("int8.onnx")
    model.graph.node[-1].op_type = "NoSuchOperator"
    onnx.save(model, "broken.onnx")
    words = ["small", "int8.onnx", "broken.onnx", "--runtimes", "onnxruntime,opencv", "--speed", "0"]
    run(monkeypatch, check, *words, "--pairs", "pairs.bin", "--json", "table.json")
    rows = json.loads((folder / "table.json").read_text())["rows"]
    names = [(row["file"], row["runtime"]) for row in rows]
    assert names == [
        ("small", "this project"),
        ("small", "onnxruntime"),
        ("small", "opencv"),
        ("int8.onnx", "onnxruntime"),
        ("int8.onnx", "opencv"),
        ("broken.onnx", "onnxruntime"),
        ("broken.onnx", "opencv"),
    ]
    assert len({row["accuracy"] for row in rows[:3]}) == 1
    assert all(row["cosine_least"] > 0.99999 and row["cosine_alone"] > 0.99999 for row in rows[:3])
    assert all(0.9 < row["cosine_least"] < 0.99999 for row in rows[3:5])
    assert rows[3]["bytes"] < rows[1]["bytes"] / 2
    assert all(row["note"].startswith("fails: ") and row["accuracy"] is None for row in rows[5:])
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(rows)


def test_mistakes_are_named_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    words = ["--output", "int8", "--min_cosine", "2", "--max_accuracy_drop", "-1", "--images", "0", "--seed", "-1"]
    with pytest.raises(UserError) as caught:
        run(monkeypatch, quantize, *MODEL, "--calibration", "faces", *words)
    assert len(str(caught.value).splitlines()) == 5
    with pytest.raises(UserError, match="--runtimes opencb is unknown; .*did you mean 'opencv'"):
        run(monkeypatch, check, "small", "--runtimes", "opencb")
    with pytest.raises(UserError, match="--output faces exists already"):
        run(monkeypatch, to_ncnn, *MODEL, "--output", "faces")
    with pytest.raises(UserError, match="--calibration nowhere does not exist"):
        run(monkeypatch, quantize, *MODEL, "--calibration", "nowhere", "--output", "x.onnx")
    with pytest.raises(UserError, match="OpenVINO quantises this layer always"):
        run(monkeypatch, quantize, *MODEL, *INT8, "--engine", "openvino", "--last_layer", "int8", "--output", "x")


def test_a_missing_environment_is_said_before_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("deploy.environment.ROOT", folder)
    with pytest.raises(UserError, match=r"MNN is not installed in \.venv-deploy; run: bash tools/deploy/setup_deploy"):
        run(monkeypatch, to_mnn, "--model_load_dir", "no model", "--output", "a.mnn")
