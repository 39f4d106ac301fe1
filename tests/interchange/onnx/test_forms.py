"""Forms of the export: opsets, fixed batch, layout, preprocessing outside. Each computes the same and is read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from interchange.matching.adapt import adapt
from interchange.matching.canonical_layers import pair_layers
from interchange.onnx.form import OPSETS, ExportForm
from interchange.onnx.reader import read_onnx
from interchange.onnx.writer import write_onnx
from tests.support.conversion import relative_error

LIGHT = {"image_size": 32, "emb_size": 16, "net_multiplier": 0.25}
NETWORKS = {
    "mobilenet": LIGHT | {"net_name": "fmobilenet", "net_output": "GNAP"},
    "mnasnet": LIGHT | {"net_name": "fmnasnet", "net_output": "GAP", "net_act": "softsign"},
    "vit": {"net_name": "vit", "num_layers": 2, "vit_width": 32, "image_size": 30, "emb_size": 16},
}


def images(graph: NetworkGraph, count: int) -> np.ndarray:
    size = graph.shapes["data"][-1]
    return np.random.default_rng(0).integers(0, 256, (count, 3, size, size)).astype(np.float32)


def run(model: onnx.ModelProto, data: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["fc1"], {"data": data})[0]


@pytest.fixture
def network(random_arrays, request) -> tuple[NetworkGraph, dict[str, np.ndarray]]:
    graph = build_network(NETWORKS[request.param])
    arrays = random_arrays(graph, 9)
    return graph, arrays | {n: np.ones_like(arrays[n]) for n, spec in graph.parameters().items() if spec.fixed}


def require_same_arrays(model: onnx.ModelProto, path: Path, graph: NetworkGraph, arrays: dict) -> None:
    onnx.save(model, path)
    foreign = read_onnx(path)
    pairs = pair_layers(graph, foreign.network)
    assert pairs is not None
    back = adapt(graph, pairs, foreign.network, foreign.arrays, foreign.training_arrays)
    assert not back.notes
    for name, array in arrays.items():
        assert back.arrays[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("network", NETWORKS, indirect=True)
def test_every_opset_computes_the_same_and_comes_back(tmp_path: Path, network) -> None:
    graph, arrays = network
    data = images(graph, 2)
    expected = run(write_onnx(graph, arrays, {}), data)
    for opset in OPSETS:
        model = write_onnx(graph, arrays, {}, ExportForm(opset=opset, fold=True))
        onnx.checker.check_model(model, full_check=True)
        assert model.opset_import[0].version == opset
        assert relative_error(run(model, data), expected) < 1e-5
        require_same_arrays(model, tmp_path / "model.onnx", graph, arrays)


@pytest.mark.parametrize("network", ["mobilenet"], indirect=True)
def test_a_fixed_batch(tmp_path: Path, network) -> None:
    graph, arrays = network
    data = images(graph, 2)
    model = write_onnx(graph, arrays, {}, ExportForm(batch=1))
    assert [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 32, 32]
    assert [axis.dim_value for axis in model.graph.output[0].type.tensor_type.shape.dim] == [1, 16]
    assert relative_error(run(model, data[:1]), run(write_onnx(graph, arrays, {}), data[:1])) < 1e-6
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        run(model, data)
    require_same_arrays(model, tmp_path / "model.onnx", graph, arrays)


@pytest.mark.parametrize("network", ["mobilenet", "vit"], indirect=True)
def test_images_by_pixels_and_preprocessing_outside(network) -> None:
    graph, arrays = network
    data = images(graph, 2)
    expected = run(write_onnx(graph, arrays, {}), data)
    by_pixels = write_onnx(graph, arrays, {}, ExportForm(layout="NHWC"))
    assert relative_error(run(by_pixels, np.ascontiguousarray(data.transpose(0, 2, 3, 1))), expected) < 1e-6
    outside = write_onnx(graph, arrays, {}, ExportForm(preprocess=False))
    assert not [node for node in outside.graph.node if node.name.startswith(("_mul", "_minus"))]
    shift = next(node for node in graph.nodes if node.op == "scale_shift").attrs
    prepared = (data - np.float32(shift["mean"])) * np.float32(shift["scale"])
    assert relative_error(run(outside, prepared), expected) < 1e-5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"opset": 10}, "opset 10 is not one of 11 to 21"),
        ({"batch": -1}, "a batch of -1 images is not possible; give a whole number >= 0"),
        ({"layout": "CHW"}, "the layout CHW is unknown; known: NCHW, NHWC"),
        ({"metadata": "long"}, "metadata 'long' are unknown; known: full, short, none"),
    ],
)
def test_unknown_forms_are_refused(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ExportForm(**values)
