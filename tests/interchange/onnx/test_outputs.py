"""Files whose output is more than the embedding, and graphs that are not in inference mode: read, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from backbones import build_network
from common.errors import UserError
from interchange.agreement import Agreement, require_agreement
from interchange.embedders import graph_embedder, onnx_embedder
from interchange.onnx.reader import read_onnx
from interchange.onnx.writer import write_onnx
from interchange.onnx_reference import run_file
from interchange.open_model import open_model
from sample_config import network as NETWORKS
from tests.support.conversion import relative_error

OPTIONS = {**NETWORKS.y1, "net_blocks": (1, 1, 1, 1), "emb_size": 32}
DIVIDED = "are divided by their length"


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 3, 112, 112)).astype(np.float32)


@pytest.fixture
def model(random_arrays) -> onnx.ModelProto:
    graph = build_network(OPTIONS)
    return write_onnx(graph, random_arrays(graph, 1), {})


def add(model: onnx.ModelProto, op: str, inputs: list[str], output: str, **attrs: object) -> None:
    model.graph.node.append(helper.make_node(op, inputs, [output], **attrs))


def constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    model.graph.initializer.append(numpy_helper.from_array(value, name))


def returned(model: onnx.ModelProto, name: str, width: int = 32, beside: bool = False) -> None:
    if not beside:
        del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]))


def find(model: onnx.ModelProto, op: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == op)


def take_beta(model: onnx.ModelProto) -> onnx.TensorProto:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("beta"))
    model.graph.initializer.remove(tensor)
    return tensor


def divided(model: onnx.ModelProto) -> None:
    add(model, "ReduceL2", ["fc1"], "length", axes=[1], keepdims=1)
    add(model, "Div", ["fc1", "length"], "unit")
    returned(model, "unit")


def divided_by_torch(model: onnx.ModelProto) -> None:
    """As ``torch.nn.functional.normalize`` is exported."""
    constant(model, "least", np.array(1e-12, np.float32))
    add(model, "ReduceL2", ["fc1"], "length", axes=[1], keepdims=1)
    add(model, "Clip", ["length", "least"], "clipped")
    add(model, "Shape", ["fc1"], "size")
    add(model, "Expand", ["clipped", "size"], "lengths")
    add(model, "Div", ["fc1", "lengths"], "unit")
    returned(model, "unit")


def divided_step_by_step(model: onnx.ModelProto) -> None:
    constant(model, "two", np.array(2, np.float32))
    constant(model, "axes", np.array([1]))
    add(model, "Pow", ["fc1", "two"], "squares")
    add(model, "ReduceSum", ["squares", "axes"], "sum", keepdims=1)
    add(model, "Sqrt", ["sum"], "length")
    add(model, "Div", ["fc1", "length"], "unit")
    returned(model, "unit")


def divided_in_one(model: onnx.ModelProto) -> None:
    add(model, "LpNormalization", ["fc1"], "unit", axis=-1, p=2)
    returned(model, "unit")


def length_beside(model: onnx.ModelProto) -> None:
    """As AdaFace's networks are exported: the embedding, divided, and its length."""
    divided(model)
    returned(model, "length", width=1, beside=True)


def constants_of_other_forms(model: onnx.ModelProto) -> None:
    tensor = take_beta(model)
    node = helper.make_node("Constant", [], [tensor.name], value_floats=numpy_helper.to_array(tensor).tolist())
    nodes = [node, *model.graph.node]
    copies = [onnx.NodeProto.FromString(each.SerializeToString()) for each in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


READ: dict[Callable[[onnx.ModelProto], None], str] = {
    divided: DIVIDED,
    divided_by_torch: DIVIDED,
    divided_step_by_step: DIVIDED,
    divided_in_one: DIVIDED,
    length_beside: "its output 'unit' is taken, not 'length'",
    constants_of_other_forms: "",
}


@pytest.mark.parametrize("change", READ, ids=lambda change: change.__name__)
def test_an_output_is_read(tmp_path: Path, model: onnx.ModelProto, change: Callable) -> None:
    expected = onnx_embedder(model.SerializeToString())(images())
    change(model)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    foreign = read_onnx(path)
    assert READ[change] in "; ".join(foreign.notes) and bool(READ[change]) == bool(foreign.notes)
    assert relative_error(graph_embedder(foreign.network, foreign.arrays)(images()), expected) < 1e-5
    assert relative_error(run_file(path, foreign).embed(images()), expected) < 1e-5  # what the check compares with


def two_embeddings(model: onnx.ModelProto) -> None:
    add(model, "Identity", ["fc1"], "other")
    returned(model, "other", beside=True)


def labels_too(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))


def of_another_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("my.ops", 1))
    find(model, "Conv").domain = "my.ops"


def training_norm(model: onnx.ModelProto) -> None:
    node = find(model, "BatchNormalization")
    node.attribute.append(helper.make_attribute("training_mode", 1))
    node.output.extend(["mean", "variance"])


def training_dropout(model: onnx.ModelProto) -> None:
    constant(model, "ratio", np.array(0.5, np.float32))
    constant(model, "training", np.array(True))
    add(model, "Dropout", ["fc1", "ratio", "training"], "dropped")
    returned(model, "dropped")


def flat_channels(model: onnx.ModelProto) -> None:
    node = find(model, "Flatten")
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("axis", 2))


def infinite_scale(model: onnx.ModelProto) -> None:
    constant(model, "factor", np.array(np.inf, np.float32))
    find(model, "Mul").input[1] = "factor"


def backward_stride(model: onnx.ModelProto) -> None:
    next(attr for attr in find(model, "Conv").attribute if attr.name == "strides").ints[:] = [-1, -1]


def in_int8(model: onnx.ModelProto) -> None:
    constant(model, "step", np.array(0.1, np.float32))
    add(model, "QuantizeLinear", ["fc1", "step"], "whole")
    add(model, "DequantizeLinear", ["whole", "step"], "again")
    returned(model, "again")


def sparse(model: onnx.ModelProto) -> None:
    tensor = take_beta(model)
    values, places = numpy_helper.to_array(tensor), np.arange(tensor.dims[0])
    stored = helper.make_tensor(tensor.name, TensorProto.FLOAT, tensor.dims, values)
    indices = helper.make_tensor("places", TensorProto.INT64, places.shape, places)
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(stored, indices, tensor.dims))


REFUSED: dict[Callable[[onnx.ModelProto], None], str] = {
    two_embeddings: r"has 2 outputs \('fc1', 'other'\); expected the embedding alone: write it with onnx.utils",
    labels_too: r"it has 2 inputs \('data', 'label'\); expected one, the images",
    of_another_domain: "is a Conv of my.ops; known are ONNX's own operators",
    training_norm: r"normalises by the batch: export the network in inference mode, model.eval\(\)",
    training_dropout: r"drops values: export the network in inference mode, model.eval\(\)",
    flat_channels: "flattens from axis 2 on, which no known network does",
    infinite_scale: "'factor' is not a finite number",
    backward_stride: r"model.onnx: .* does not fit its -\d+x-\d+ input",
    in_int8: r"it is quantised \(whole is a QuantizeLinear\); give the float file that it was made of",
    sparse: "an array is stored in sparse form, which is not read; save it in full",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_an_odd_graph_is_refused(tmp_path: Path, model: onnx.ModelProto, change: Callable) -> None:
    change(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=REFUSED[change]) as caught:
        read_onnx(tmp_path / "model.onnx")
    assert str(caught.value).startswith(str(tmp_path))


def test_embeddings_that_are_not_numbers_are_named() -> None:
    with pytest.raises(UserError, match="A and B do not both give finite embeddings of one length"):
        require_agreement("target", Agreement(2, float("inf"), -1.0), "A and B")


def test_an_empty_file_and_one_of_another_runtime(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match="model.onnx is empty; expected an ONNX file"):
        read_onnx(tmp_path / "model.onnx")
    (tmp_path / "model.tflite").write_bytes(b"TFL3")
    with pytest.raises(UserError, match="model.tflite is a file of an unknown kind; give a snapshot"):
        open_model(str(tmp_path / "model.tflite"))
