"""InsightFace's package and OpenCV on a network of each family; test_commands covers y1 completely."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from insightface import model_zoo

from backbones import build_network
from interchange.embedders import oneflow_embedder
from interchange.matching.fold_batch_norm import fold_batch_norms
from interchange.onnx.writer import write_onnx
from sample_config import network as NETWORKS
from tests.support.conversion import require_close
from tests.support.faces import orl_faces

NAMES = ("r18", "iresnet18", "mbf", "m05", "mnas025", "vargfacenet", "d169", "vit_t")
CHANGES = {
    "r18 se": {"net_se": 1, "net_input": 2},
    "r18 GNAP": {"net_output": "GNAP"},
    "r18 SFC": {"net_output": "SFC"},
}
OPTIONS = {name: {**NETWORKS[name.split()[0]], **CHANGES.get(name, {})} for name in (*NAMES, *CHANGES)}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("name", OPTIONS)
def test_insightface_and_opencv_embed_as_we_do(tmp_path: Path, random_arrays, name: str, fused: bool) -> None:
    graph = build_network(OPTIONS[name])
    arrays = random_arrays(graph, 2)
    faces = orl_faces(3)
    expected = oneflow_embedder(graph, arrays)(faces)
    path = tmp_path / "model.onnx"
    onnx.save(write_onnx(*(fold_batch_norms(graph, arrays) if fused else (graph, arrays)), {}), path)
    pictures = [np.ascontiguousarray(face.transpose(1, 2, 0)[..., ::-1]).astype(np.uint8) for face in faces]

    model = model_zoo.get_model(str(path), providers=["CPUExecutionProvider"])
    assert (model.taskname, model.input_size) == ("recognition", (112, 112))
    if OPTIONS[name].get("net_input") != 2:
        assert (model.input_mean, model.input_std) == (0.0, 1.0)
        require_close(model.get_feat(pictures), expected, 1e-4, f"{name} by get_feat")

    network = cv2.dnn.readNetFromONNX(str(path))
    for picture, embedding in zip(pictures, expected, strict=True):
        network.setInput(cv2.dnn.blobFromImage(picture, swapRB=True))
        if "GNAP" in name:  # an embedding depends on the other images of its batch
            embedding = oneflow_embedder(graph, arrays)(
                picture[None, ..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
            )
        require_close(network.forward(), embedding, 1e-4, f"{name} in OpenCV")
