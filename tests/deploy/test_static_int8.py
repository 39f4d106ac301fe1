"""The int8 file: what is quantised and how, and that other programs read it as onnxruntime does."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from insightface.model_zoo import get_model
from onnx import TensorProto, numpy_helper

from backbones.graph.network_graph import NetworkGraph
from deploy.static_int8 import last_layer, preprocessing_nodes, quantize_static_int8
from interchange.onnx.form import ExportForm
from interchange.onnx.writer import write_onnx
from tests.support.deployed import cosines, steady_arrays, write_small_onnx
from tests.support.faces import orl_faces


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A float and an int8 file."""
    folder = tmp_path_factory.mktemp("int8")
    source = write_small_onnx(folder / "float.onnx")
    quantize_static_int8(source, folder / "int8.onnx", orl_faces(12).astype(np.uint8))
    return source, folder / "int8.onnx"


def run(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"data": images})[0]


def test_embeddings_are_alike(files: tuple[Path, Path]) -> None:
    faces = orl_faces(8)
    found = cosines(run(files[0], faces), run(files[1], faces))
    assert 0.95 < found.min() < 0.99999  # it is quantised, and still the network


def test_weights_are_signed_per_channel_and_activations_unsigned(files: tuple[Path, Path]) -> None:
    graph = onnx.load(files[1]).graph
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        data, weight = (makers[name] for name in node.input[:2])
        assert data.op_type == weight.op_type == "DequantizeLinear"
        assert arrays[data.input[2]].data_type == TensorProto.UINT8
        values = arrays[weight.input[0]]
        assert values.data_type == TensorProto.INT8
        assert numpy_helper.to_array(arrays[weight.input[1]]).shape == (values.dims[0],)


def test_a_batch_norm_before_a_padded_convolution_is_in_int8(tmp_path: Path) -> None:
    graph = NetworkGraph()
    x = graph.scale_shift(graph.input("data", (3, 112, 112)), "preprocess", 127.5, 1 / 128)
    x = graph.conv(x, "conv0", 8, 3, stride=4, pad=1)
    x = graph.batch_norm(x, "bn0", 2e-5)
    x = graph.batch_norm(graph.prelu(x, "relu0"), "bn1", 2e-5)
    x = graph.conv(x, "conv1", 8, 3, stride=2, pad=1)
    x = graph.batch_norm(graph.fully_connected(graph.flatten(x, "flat"), "pre_fc1", 32), "fc1", 2e-5)
    arrays = steady_arrays(graph)
    rng = np.random.default_rng(2)
    for name in ("bn1_gamma", "bn1_beta", "bn1_moving_mean"):
        arrays[name] = rng.normal(0.5, 0.5, 8).astype(np.float32)
    onnx.save(write_onnx(graph, arrays, {}, ExportForm(fold=True)), tmp_path / "float.onnx")
    quantize_static_int8(tmp_path / "float.onnx", tmp_path / "int8.onnx", orl_faces(12).astype(np.uint8))
    model = onnx.load(tmp_path / "int8.onnx").graph
    assert not [node for node in model.node if node.op_type == "BatchNormalization"]
    assert {tensor.name for tensor in model.initializer} <= {name for node in model.node for name in node.input}
    faces = orl_faces(8)
    found = run(tmp_path / "int8.onnx", faces)
    assert cosines(run(tmp_path / "float.onnx", faces), found).min() > 0.99
    net = cv2.dnn.readNetFromONNX(str(tmp_path / "int8.onnx"))
    net.setInput(faces)
    assert cosines(net.forward(), found).min() > 0.99


def test_last_layer_is_in_float(files: tuple[Path, Path]) -> None:
    graph = onnx.load(files[1]).graph
    gemm = last_layer(graph)[-1]
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    assert gemm.op_type == "Gemm" and arrays[gemm.input[1]].data_type == TensorProto.FLOAT


def test_preprocessing_is_first_and_in_float(files: tuple[Path, Path]) -> None:
    graph = onnx.load(files[1]).graph
    nodes = preprocessing_nodes(graph)
    assert [node.op_type for node in nodes] == ["Mul", "Sub"]
    assert [node.name for node in graph.node[:2]] == [node.name for node in nodes]


def test_insightface_sees_the_preprocessing(files: tuple[Path, Path]) -> None:
    model = get_model(str(files[1]), providers=["CPUExecutionProvider"])
    assert (model.input_mean, model.input_std) == (0.0, 1.0)
    faces = orl_faces(2)
    pictures = [face.transpose(1, 2, 0)[..., ::-1].astype(np.uint8) for face in faces]
    assert np.array_equal(model.get_feat(pictures), run(files[1], faces))


def test_opencv_reads_every_row_of_a_batch(files: tuple[Path, Path]) -> None:
    """OpenCV 4 gives wrong rows from the second on if the fully connected layer is in int8."""
    faces = orl_faces(4)
    net = cv2.dnn.readNetFromONNX(str(files[1]))
    net.setInput(faces)
    assert cosines(net.forward(), run(files[1], faces)).min() > 0.98
