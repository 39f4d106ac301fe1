from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from backbones import build_network
from backbones.execution.backbone import Backbone
from backbones.graph.initializer import initial_arrays
from backbones.graph.network_graph import NetworkGraph
from backbones.networks.iresnet import build_residual_network
from backbones.networks.options import NetworkOptions
from common.errors import UserError
from interchange.onnx.form import ExportForm
from interchange.onnx.model_parts import Writer
from interchange.onnx.writer import write_onnx
from ops import flow
from sample_config import network as NETWORKS

Y1 = {"net_name": "fmobilefacenet", "emb_size": 128, "net_output": "GDC"}
CONFIGS = {
    "y1": Y1,
    "r18": {"net_name": "fresnet", "num_layers": 18},
    "relu": {"net_name": "fmobilefacenet", "net_output": "FC", "net_blocks": [2, 1, 1, 1], "net_act": "relu"},
    "r50": {"net_name": "fresnet", "num_layers": 50},
    "r100": {"net_name": "fresnet", "num_layers": 100},
}
SLOW = {"r50", "r100"}
LIGHT = {"emb_size": 16, "image_size": 32, "net_output": "J", "net_multiplier": 0.25}
UNITS = {"net_name": "fresnet", "image_size": 32, "emb_size": 32, "net_output": "J"}
SMALL = {
    "mobilenet": LIGHT | {"net_name": "fmobilenet"},
    "mnasnet": LIGHT | {"net_name": "fmnasnet"},
    "vargfacenet": LIGHT | {"net_name": "vargfacenet", "net_se": 1, "image_size": 112},
    "densenet": {"net_name": "fdensenet", "num_layers": 121, "emb_size": 16, "image_size": 32, "densenet_dropout": 0.1},
    "iresnet": UNITS | {"net_name": "iresnet", "num_layers": 18},
    "mbf": LIGHT | {"net_name": "mbf", "net_multiplier": 1.0},
    "vit": {
        "net_name": "vit",
        "num_layers": 2,
        "vit_width": 32,
        "image_size": 30,
        "emb_size": 16,
        "vit_drop_path": 0.1,
        "vit_mask_ratio": 0.3,
    },
    "unit 1 se": UNITS | {"net_unit": 1, "net_se": 1},
    "unit 2 input 2": UNITS | {"net_unit": 2, "net_input": 2},
    "unit 4 input 0": UNITS | {"net_unit": 4, "net_input": 0},
    "GNAP": UNITS | {"net_output": "GNAP"},
    "GNAP, wider": UNITS | {"net_output": "GNAP", "emb_size": 600},
    "GAP": UNITS | {"net_output": "GAP", "net_act": "softsign"},
    "SFC": UNITS | {"net_output": "SFC", "net_act": "softrelu"},
    "Z": UNITS | {"net_output": "Z", "emb_size": 256},
    "F": UNITS | {"net_output": "F"},
}


def build(config: dict[str, Any]) -> NetworkGraph:
    """Build a network; of those of MXNet's residual units a narrow one with two units of each kind."""
    if config["net_name"] == "fresnet" and "num_layers" not in config:
        return build_residual_network([2, 1, 2, 1], [16, 16, 24, 32, 64], NetworkOptions.from_config(config))
    return build_network(config)


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["fc1"], {"data": images})[0]


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 3, 112, 112)).astype(np.float32)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=[pytest.mark.slow] if case in SLOW else []) for case in CONFIGS]
)
def test_onnxruntime_agrees_at_any_batch_size(case, images, random_arrays):
    graph = build_network(CONFIGS[case])
    arrays = random_arrays(graph, 3)
    expected = Backbone(graph, arrays).eval()(flow.tensor(images)).numpy()
    model = write_onnx(graph, arrays, {})
    scale = np.abs(expected).max()
    assert np.abs(run(model, images) - expected).max() < 1e-4 * scale
    assert np.abs(run(model, images[:1]) - expected[:1]).max() < 1e-4 * scale


@pytest.mark.parametrize("case", SMALL)
def test_onnxruntime_agrees_on_every_family_and_variant(case, random_arrays):
    graph = build(SMALL[case])
    arrays = random_arrays(graph, 3)
    size = graph.shapes["data"][-1]
    images = np.random.default_rng(0).integers(0, 256, (3, 3, size, size)).astype(np.float32)
    expected = Backbone(graph, arrays).eval()(flow.tensor(images)).numpy()
    model = write_onnx(graph, arrays, {})
    onnx.checker.check_model(model, full_check=True)
    actual = run(model, images)
    assert actual.shape == (3, graph.embedding_size)
    assert np.abs(expected[0] - expected[1]).max() > 0.01 * np.abs(expected).max()  # the images matter
    assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_file_describes_itself():
    graph = build_network(Y1)
    model = write_onnx(graph, initial_arrays(graph, 0), {"network": "y1", "colour": "RGB"})
    onnx.checker.check_model(model, full_check=True)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"network": "y1", "colour": "RGB"}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert model.ir_version == 8

    def shape(value):
        return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]

    assert [(value.name, shape(value)) for value in model.graph.input] == [("data", ["N", 3, 112, 112])]
    assert [(value.name, shape(value)) for value in model.graph.output] == [("fc1", ["N", 128])]


def test_names_are_those_of_the_description():
    graph = build_network(CONFIGS["r18"])
    model = write_onnx(graph, initial_arrays(graph, 0), {})
    initializers = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    assert set(initializers) == set(graph.parameters())
    assert initializers["relu0_gamma"] == (64, 1, 1)
    names = [node.name for node in model.graph.node]
    assert names[:5] == ["_mulscalar0_constant", "_minusscalar0_constant", "_mulscalar0", "_minusscalar0", "conv0"]
    assert [node.op_type for node in model.graph.node][:5] == ["Constant", "Constant", "Mul", "Sub", "Conv"]
    assert set(names[4:]) == {node.name for node in graph.nodes if node.op not in ("input", "scale_shift", "dropout")}


def names_that_quantisation_gives(model: onnx.GraphProto) -> set[str]:
    """Return the names that onnxruntime 1.23.2 would give, for example, the scale of a tensor: T_scale for tensor T."""
    tensors = {tensor.name for tensor in model.initializer}
    tensors |= {value for node in model.node for value in (*node.input, *node.output)}
    return tensors & {name + suffix for name in tensors for suffix in ("_scale", "_zero_point", "_quantized")}


def test_no_tensor_of_any_network_has_a_name_that_quantisation_gives(monkeypatch):
    def add_name(writer, name, values):
        writer.initializers.append(onnx.TensorProto(name=name))
        return name

    monkeypatch.setattr(Writer, "add_array", add_name)
    monkeypatch.setattr(onnx.checker, "check_model", lambda model: None)
    for name, options in NETWORKS.items():
        graph = build_network(options)
        arrays = {key: np.broadcast_to(np.float32(0), spec.shape) for key, spec in graph.parameters().items()}
        assert not names_that_quantisation_gives(write_onnx(graph, arrays, {}).graph), name


@pytest.mark.parametrize("case", ["mobilenet", "unit 1 se", "vit", "GNAP", "GAP"])
def test_no_tensor_of_any_form_has_a_name_that_quantisation_gives(case, random_arrays):
    graph = build(SMALL[case])
    arrays = random_arrays(graph, 3)
    for form in (ExportForm(half=True, fold=True), ExportForm(opset=11, layout="NHWC"), ExportForm(opset=21)):
        assert not names_that_quantisation_gives(write_onnx(graph, arrays, {}, form).graph)


@pytest.mark.parametrize("scale", [1 / 128, 1 / 127.5])
def test_scaling_before_the_shift_changes_no_embedding(scale):
    graph = NetworkGraph()
    x = graph.scale_shift(graph.input("data", (3, 16, 16)), "preprocess", 127.5, scale)
    graph.flatten(x, "fc1")
    data = np.arange(768, dtype=np.float32).reshape(1, 3, 16, 16) % 256
    expected = ((data - np.float32(127.5)) * np.float32(scale)).reshape(1, -1)
    actual = run(write_onnx(graph, {}, {}), data)
    if scale == 1 / 128:  # a power of two: no rounding
        np.testing.assert_array_equal(actual, expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1.2e-7)


def test_a_pinned_gamma_is_written_as_one(random_arrays):
    graph = build_network(Y1)
    arrays = random_arrays(graph, 3)
    assert not (arrays["fc1_gamma"] == 1).any()
    model = write_onnx(graph, arrays, {})
    (gamma,) = (tensor for tensor in model.graph.initializer if tensor.name == "fc1_gamma")
    assert (onnx.numpy_helper.to_array(gamma) == 1).all()


def test_convolution_bias_and_activations_are_written():
    graph = NetworkGraph()
    x = graph.conv(graph.input("data", (2, 3, 3)), "conv", 2, kernel=1, bias=True)
    x = graph.activation(graph.activation(x, "squash", "sigmoid"), "bend", "tanh")
    graph.fully_connected(graph.flatten(x, "flat"), "fc1", 1)
    arrays = {
        "conv_weight": np.array([[[[1.0]], [[2.0]]], [[[-1.0]], [[0.5]]]]),
        "conv_bias": np.array([0.25, -0.5]),
        "fc1_weight": np.linspace(-1, 1, 18).reshape(1, 18),
        "fc1_bias": np.array([0.1]),
    }
    data = np.random.default_rng(2).normal(size=(2, 2, 3, 3))
    mixed = np.einsum("oc,nchw->nohw", arrays["conv_weight"][:, :, 0, 0], data) + arrays["conv_bias"][:, None, None]
    expected = np.tanh(1 / (1 + np.exp(-mixed))).reshape(2, 18) @ arrays["fc1_weight"].T + arrays["fc1_bias"]
    actual = run(write_onnx(graph, arrays, {}), data.astype(np.float32))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    module = Backbone(graph, arrays).eval()(flow.tensor(data.astype(np.float32)))
    np.testing.assert_allclose(module.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_weights_of_another_network_are_refused():
    graph, other = build_network(Y1), build_network(Y1 | {"emb_size": 256})
    with pytest.raises(UserError, match=r"'pre_fc1_weight' of shape \(256, 512\), the network expects \(128, 512\)"):
        write_onnx(graph, initial_arrays(other, 0), {})
