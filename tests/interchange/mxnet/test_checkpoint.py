"""Checkpoints that MXNet itself made, of symbols written against its API, and those that are written for it."""

from __future__ import annotations

import json
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from interchange.embedders import graph_embedder, mxnet_embedder, oneflow_embedder
from interchange.mxnet.checkpoint import read_checkpoint, write_checkpoint
from sample_config import network as NETWORKS
from tests.backbones import mxnet_networks
from tests.support.conversion import bring_in, relative_error, require_close

WIDTHS = [64, 64, 128, 256, 512]
SYMBOLS = {
    "y1": lambda: mxnet_networks.mobilefacenet([1, 4, 6, 2], "GDC", 128),
    "r18": lambda: mxnet_networks.fresnet([2, 2, 2, 2], WIDTHS, "E", 512),
    "r50": lambda: mxnet_networks.fresnet([3, 4, 14, 3], WIDTHS, "E", 512),
    "r100": lambda: mxnet_networks.fresnet([3, 13, 30, 3], WIDTHS, "E", 512),
}
SLOW = {"r18", "r50", "r100"}


def save(prefix: Path, symbol: mx.sym.Symbol, graph: NetworkGraph, arrays: dict, dtype: str = "float32") -> None:
    """Let MXNet write a checkpoint."""
    specs = graph.parameters()
    both: tuple[dict, dict] = ({}, {})
    for name, array in arrays.items():
        auxiliary = name in specs and specs[name].auxiliary
        both[auxiliary][name] = mx.nd.array(array, dtype=dtype)
    mx.model.save_checkpoint(str(prefix), 3, symbol, *both)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in SYMBOLS])
def test_what_mxnet_saved_is_recognised_and_agrees(tmp_path: Path, name: str, random_arrays) -> None:
    graph = build_network(NETWORKS[name])
    arrays = random_arrays(graph, 3)
    save(tmp_path / "model", SYMBOLS[name](), graph, arrays)
    foreign = read_checkpoint(tmp_path / "model", 3)
    found, adaptation = bring_in(foreign)
    assert found.name == name and not adaptation.notes
    for key, spec in graph.parameters().items():
        expected = np.ones(spec.shape) if spec.fixed else arrays[key]
        np.testing.assert_array_equal(adaptation.arrays[key], expected, err_msg=key)
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 112, 112)).astype(np.float32)
    theirs = mxnet_embedder(tmp_path / "model", 3)(images)
    ours = oneflow_embedder(found.network, adaptation.arrays)(images)
    require_close(ours, theirs, 1e-4, f"{name} that MXNet built")


def test_half_precision_and_a_training_symbol_with_fc7_in_shards(tmp_path: Path, y1) -> None:
    graph, arrays = y1
    rows = np.random.default_rng(2).normal(size=(12, 128)).astype(np.float32)
    embedding = SYMBOLS["y1"]()
    fc7 = mx.sym.FullyConnected(embedding, num_hidden=12, no_bias=True, name="fc7")
    symbol = mx.sym.Group([embedding, mx.sym.SoftmaxOutput(fc7, name="softmax")])
    shards = {f"fc7_{i}_weight": rows[4 * i : 4 * i + 4] for i in (2, 0, 1)}
    save(tmp_path / "model", symbol, graph, arrays | shards, dtype="float16")
    foreign = read_checkpoint(tmp_path / "model", 3)
    found, adaptation = bring_in(foreign)
    assert found.name == "y1"
    np.testing.assert_array_equal(foreign.head["fc7_weight"], rows.astype(np.float16))
    for name, array in arrays.items():
        np.testing.assert_array_equal(adaptation.arrays[name], array.astype(np.float16).astype(np.float32))
    del shards["fc7_1_weight"]
    save(tmp_path / "model", symbol, graph, arrays | shards)
    with pytest.raises(UserError, match=r"shard 1 of fc7_weight is missing; there are \[0, 2\]"):
        read_checkpoint(tmp_path / "model", 3)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({**NETWORKS[name], **changes}, id=f"{name}{changes or ''}", marks=[pytest.mark.slow] * slow)
        for name, changes, slow in (
            ("mnas025", {}, False),
            ("y1", {"net_act": "relu6", "net_output": "GNAP"}, False),
            *(
                ("r18", {"net_unit": unit, "net_se": 1, "net_input": stem}, True)
                for unit, stem in ((1, 0), (2, 2), (4, 1))
            ),
            *((name, {}, True) for name in ("m05", "vargfacenet", "d169", "mbf", "iresnet18")),
            *(("r18", {"net_output": kind}, True) for kind in ("SFC", "GAP", "GNAP", "J")),
        )
    ],
)
def test_mxnet_runs_what_is_written_of_every_family(tmp_path: Path, random_arrays, options: dict) -> None:
    graph = build_network(options)
    arrays = random_arrays(graph, 1)
    write_checkpoint(tmp_path / "model", 0, graph, arrays)
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 112, 112)).astype(np.float32)
    theirs = mxnet_embedder(tmp_path / "model", 0)(images)
    require_close(graph_embedder(graph, arrays)(images), theirs, 1e-4, "MXNet and onnxruntime")


@pytest.mark.parametrize("bias", [False, True])
def test_mxnet_runs_what_is_written_with_fc7(tmp_path: Path, y1, bias: bool) -> None:
    graph, arrays = y1
    rng = np.random.default_rng(2)
    head = {"fc7_weight": rng.normal(size=(7, 128)).astype(np.float32)}
    if bias:
        head["fc7_bias"] = rng.normal(size=7).astype(np.float32)
    write_checkpoint(tmp_path / "model", 0, graph, arrays, head)
    symbol, arguments, states = mx.model.load_checkpoint(str(tmp_path / "model"), 0)
    assert symbol.list_outputs() == ["fc1_output", "fc7_output"]
    module = mx.mod.Module(symbol, label_names=None)
    module.bind([("data", (2, 3, 112, 112))], for_training=False)
    module.set_params(arguments, states)
    images = rng.integers(0, 256, (2, 3, 112, 112)).astype(np.float32)
    module.forward(mx.io.DataBatch([mx.nd.array(images)]), is_train=False)
    embedding, logits = (output.asnumpy() for output in module.get_outputs())
    weight = head["fc7_weight"]
    if bias:
        expected = embedding @ weight.T + head["fc7_bias"]
    else:
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (embedding, weight)]
        expected = unit[0] @ unit[1].T
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert relative_error(oneflow_embedder(graph, arrays)(images), embedding) < 1e-4
    back = read_checkpoint(tmp_path / "model", 0)
    assert {name: array.tolist() for name, array in back.head.items()} == {n: a.tolist() for n, a in head.items()}


def test_the_symbol_written_has_the_arguments_of_the_original(tmp_path: Path, y1) -> None:
    write_checkpoint(tmp_path / "model", 0, *y1)
    ours, theirs = mx.sym.load(str(tmp_path / "model-symbol.json")), SYMBOLS["y1"]()
    assert ours.list_arguments() == theirs.list_arguments()
    assert ours.list_auxiliary_states() == theirs.list_auxiliary_states()
    names = [node["name"] for node in json.loads(ours.tojson())["nodes"]]
    assert names[:3] == ["data", "_minusscalar0", "_mulscalar0"]


def test_any_number_of_images_is_embedded(tmp_path: Path, y1) -> None:
    write_checkpoint(tmp_path / "model", 0, *y1)
    images = np.random.default_rng(0).integers(0, 256, (21, 3, 112, 112)).astype(np.float32)
    embed, expected = mxnet_embedder(tmp_path / "model", 0), graph_embedder(*y1)(images)
    require_close(embed(images[:2]), expected[:2], 1e-4, "two images")
    require_close(embed(images), expected, 1e-4, "21 images after them")


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content["nodes"])
    path.write_text(json.dumps(content))


def named(nodes: list, name: str) -> dict:
    return next(node for node in nodes if node["name"] == name)


DAMAGES = {
    "an unknown operator": (lambda nodes: named(nodes, "conv_1_relu").update(op="Erf"), "conv_1_relu is a Erf; known"),
    "another kernel": (
        lambda nodes: named(nodes, "conv_1_conv2d")["attrs"].update(dilate="(2, 2)"),
        "is a Convolution with dilation",
    ),
    "two strides": (
        lambda nodes: named(nodes, "conv_1_conv2d")["attrs"].update(stride="(2, 1)"),
        r"1_conv2d has stride \(2, 1\)",
    ),
    "another stride": (
        lambda nodes: named(nodes, "conv_1_conv2d")["attrs"].update(stride="(1, 1)"),
        "weight has shape|does not fit",
    ),
    "no node": (lambda nodes: nodes.pop(), "is not an MXNet symbol"),
    "a lost array": (lambda nodes: named(nodes, "fc1_beta").update(name="fc1_b"), "the array 'fc1_b' is missing"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_clear_line(tmp_path: Path, y1, name: str) -> None:
    symbol, _ = write_checkpoint(tmp_path / "model", 0, *y1)
    change, message = DAMAGES[name]
    edit(symbol, change)
    with pytest.raises(UserError, match=message) as caught:
        read_checkpoint(tmp_path / "model", 0)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_a_list_is_a_name(tmp_path: Path, y1) -> None:
    symbol, _ = write_checkpoint(tmp_path / "model", 0, *y1)
    edit(symbol, lambda nodes: nodes[-1].update(name=["fc1"]))
    assert read_checkpoint(tmp_path / "model", 0).network.nodes


def test_another_network_names_the_nearest_and_the_first_difference(tmp_path: Path, y1) -> None:
    symbol, _ = write_checkpoint(tmp_path / "model", 0, *y1)
    edit(
        symbol,
        lambda nodes: named(nodes, "res_4_block0_conv_dw_relu").update(
            op="Activation",
            attrs={"act_type": "sigmoid"},
            inputs=named(nodes, "res_4_block0_conv_dw_relu")["inputs"][:1],
        ),
    )
    with pytest.raises(UserError, match="nearest is y1: where it has prelu .*, the file has activation") as caught:
        bring_in(read_checkpoint(tmp_path / "model", 0))
    assert "res_4_block0_conv_dw_relu" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="unknown network 'r7'"):
        bring_in(read_checkpoint(tmp_path / "model", 0), "r7")
