"""Exported files after other programs have changed them: insightface, OpenCV and onnxruntime still embed rightly."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from evaluation.similarity import cosine_similarity
from interchange.embedders import integer_threads, onnx_embedder
from interchange.onnx.form import ExportForm
from interchange.onnx.reader import read_onnx
from interchange.onnx.writer import write_onnx
from sample_config import network as NETWORKS
from tests.support.conversion import bring_in
from tests.support.faces import orl_faces

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".venv-deploy" / "bin" / "python"
PROGRAM = ROOT / "tests" / "support" / "onnx_tools.py"
OPTIONS: dict[str, dict[str, Any]] = {
    **NETWORKS,
    "r18 se": {**NETWORKS.r18, "net_se": 1},
    "r18 GAP softsign": {**NETWORKS.r18, "net_output": "GAP", "net_act": "softsign"},
}
QUICK = "mnas025"
BATCHES = (4, 1, 3, 1)  # OpenCV 4 is wrong from the second size on where it fuses the branches of a block
INT8 = {"dynamic": 0.98, "static": 0.95, "static, last layer in float": 0.95}


class Calibration(CalibrationDataReader):
    """Hands faces to onnxruntime's quantiser, one at a time."""

    def __init__(self, faces: np.ndarray) -> None:
        self.faces: Iterator[np.ndarray] = iter(np.split(faces, len(faces)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        face = next(self.faces, None)
        return None if face is None else {"data": face}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "level", logging.ERROR)


@pytest.fixture
def exported(tmp_path: Path, random_arrays, request) -> tuple[NetworkGraph, dict[str, np.ndarray], Path]:
    graph = build_network(OPTIONS[request.param])
    arrays = random_arrays(graph, 2)
    arrays |= {name: np.ones_like(arrays[name]) for name, spec in graph.parameters().items() if spec.fixed}
    config = json.dumps({**OPTIONS[request.param], "network": request.param})
    onnx.save(write_onnx(graph, arrays, {"config": config}, ExportForm(fold=True)), tmp_path / "model.onnx")
    return graph, arrays, tmp_path / "model.onnx"


def is_transformer(graph: NetworkGraph) -> bool:
    return any(node.op == "attention" for node in graph.nodes)


def pictures(faces: np.ndarray) -> list[np.ndarray]:
    """Faces as programs hold them: BGR, uint8 [112, 112, 3]."""
    return [np.ascontiguousarray(face.transpose(1, 2, 0)[..., ::-1]).astype(np.uint8) for face in faces]


def require_same(path: Path, faces: np.ndarray, expected: np.ndarray, least: float, opencv: bool = True) -> None:
    """Check the cosines of a file's embeddings with the expected ones in every program."""
    what = path.stem
    found = [("onnxruntime", onnx_embedder(path.read_bytes())(faces))]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = integer_threads(path.read_bytes())
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = ArcFaceONNX(str(path), session)
    assert (model.input_mean, model.input_std) == (0.0, 1.0), what
    found.append(("insightface", model.get_feat(pictures(faces))))
    if opencv:
        network = cv2.dnn.readNetFromONNX(str(path))
        for count in BATCHES:
            network.setInput(cv2.dnn.blobFromImages(pictures(faces[:count]), swapRB=True))
            found.append((f"OpenCV, batch of {count}", network.forward()))
    for program, embeddings in found:
        cosine = cosine_similarity(embeddings, expected[: len(embeddings)]).min()
        print(f"smallest cosine {cosine:.6f}, {what} in {program}")
        assert cosine >= least, f"{what} in {program}"


def every(marked: bool) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.slow] * (marked or name != QUICK), id=name) for name in OPTIONS]


@pytest.mark.parametrize("exported", every(marked=False), indirect=True)
def test_onnxruntimes_quantisers(exported) -> None:
    graph, _, path = exported
    transformer = is_transformer(graph)
    faces = orl_faces(8)
    expected = onnx_embedder(path.read_bytes())(faces)
    targets = {name: path.with_name(f"{name}.onnx") for name in INT8}
    quantize_dynamic(path, targets["dynamic"], weight_type=QuantType.QUInt8)  # it has no ConvInteger of signed weights
    quantize_static(path, targets["static"], Calibration(faces))
    quantize_static(
        path,
        targets["static, last layer in float"],
        Calibration(faces),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=["fc1"],
    )
    for name, target in targets.items():
        # OpenCV 4 has no ConvInteger, and of a quantised Gemm only the first row is right.
        opencv = name == "static, last layer in float" and not transformer
        require_same(target, faces, expected, INT8[name], opencv)
    if transformer:
        with pytest.raises(cv2.error):
            cv2.dnn.readNetFromONNX(str(targets["static, last layer in float"]))


@pytest.mark.skipif(not PYTHON.is_file(), reason="needs .venv-deploy: bash tools/deploy/setup_deploy.sh")
@pytest.mark.parametrize("exported", every(marked=True), indirect=True)
def test_simplifiers_and_float16(exported) -> None:
    graph, arrays, path = exported
    faces = orl_faces(4)
    expected = onnx_embedder(path.read_bytes())(faces)
    require_same(path, faces, expected, 0.999999)
    done = subprocess.run([PYTHON, PROGRAM, path, path.parent], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, least in (("onnxsim", 0.999999), ("onnxslim", 0.999999), ("float16", 0.999)):
        require_same(path.with_name(f"{name}.onnx"), faces, expected, least)
    # They keep the metadata, which changed weights make void.
    for name in ("onnxsim", "onnxslim"):
        found, adaptation = bring_in(read_onnx(path.with_name(f"{name}.onnx")))
        again = onnx_embedder(write_onnx(graph, adaptation.arrays, {}).SerializeToString())(faces)
        assert cosine_similarity(again, expected).min() > 0.999999
