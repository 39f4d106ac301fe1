from __future__ import annotations

import json
from math import prod
from pathlib import Path

import mxnet as mx
import numpy as np
import onnxruntime
import pytest

from backbones import build_network
from backbones.execution.backbone import Backbone
from backbones.graph.flops import count_flops
from backbones.graph.network_graph import NetworkGraph
from backbones.networks.layers import add_image_input
from backbones.networks.options import NetworkOptions
from benchmarks.network import describe_network, list_convolutions, network_config, write_network
from benchmarks.peers.mxnet_worker import build_symbol
from common.errors import UserError
from ops import flow


@pytest.mark.parametrize("name", ["y1", "r50"])
def test_convolutions_hold_all_multiplications_but_the_last_layers(name):
    graph = build_network(network_config(name))
    description = json.loads(json.dumps(describe_network(graph)))
    flops = 0
    for c in list_convolutions(description):
        out = (c["size"] + 2 * c["pad"] - c["kernel"]) // c["stride"] + 1
        flops += c["times"] * out**2 * c["filters"] * c["channels"] // c["groups"] * c["kernel"] ** 2
    assert flops + prod(graph.parameters()["pre_fc1_weight"].shape) == count_flops(graph)


def test_only_the_stem_needs_no_gradient_of_its_input():
    convolutions = list_convolutions(describe_network(build_network(network_config("r18"))))
    assert [(c["channels"], c["size"]) for c in convolutions if c["first"]] == [(3, 112)]
    assert sum(c["times"] for c in convolutions) == 1 + 4 * (2 + 2 + 1)


def test_networks_have_no_dropout():
    for name in ("y1", "r18", "r100"):
        assert "dropout" not in {node.op for node in build_network(network_config(name)).nodes}


def test_written_files_are_of_the_network(tmp_path: Path):
    paths = write_network("y1", 4, tmp_path)
    description = json.loads(Path(paths["graph"]).read_text())
    with np.load(paths["arrays"]) as arrays, np.load(paths["batch"]) as batch:
        assert {k: list(arrays[k].shape) for k in arrays} == {
            k: v["shape"] for k, v in description["parameters"].items()
        }
        assert batch["images"].shape == (4, 3, 112, 112)
        assert batch["targets"].shape == (4, 128)
        assert batch["images"].dtype == batch["targets"].dtype == np.float32


def test_the_written_model_embeds_like_ours(tmp_path: Path):
    paths = write_network("y1", 2, tmp_path)
    with np.load(paths["arrays"]) as arrays, np.load(paths["batch"]) as batch:
        ours = Backbone(build_network(network_config("y1")), dict(arrays)).eval()(flow.tensor(batch["images"])).numpy()
        (theirs,) = onnxruntime.InferenceSession(paths["onnx"]).run(None, {"data": batch["images"]})
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_wrong_names_and_batches_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="unknown network 'y9'"):
        network_config("y9")
    with pytest.raises(UserError, match="--batch 1"):
        write_network("y1", 1, tmp_path)


def test_mxnets_symbol_is_the_described_network(random_arrays):
    graph = NetworkGraph()
    x = add_image_input(graph, NetworkOptions("tiny", image_size=16))
    x = graph.conv(x, "a", 8, kernel=3, stride=2, pad=1, bias=True)
    x = graph.prelu(graph.batch_norm(x, "bn", 2e-5), "slope")
    y = graph.activation(graph.conv(x, "b", 8, kernel=3, pad=1, groups=4), "tanh", "tanh")
    x = graph.flatten(graph.add(x, y, "sum"), "flat")
    graph.batch_norm(graph.fully_connected(x, "fc", 5), "fc1", 2e-5, fix_gamma=True)
    arrays = random_arrays(graph, 3)
    images = np.random.default_rng(4).integers(0, 256, (2, 3, 16, 16)).astype(np.float32)

    symbol = build_symbol(json.loads(json.dumps(describe_network(graph))))
    executor = symbol.simple_bind(mx.cpu(), data=images.shape)
    executor.copy_params_from(
        {name: mx.nd.array(arrays[name]) for name in executor.arg_dict if name != "data"},
        {name: mx.nd.array(arrays[name]) for name in executor.aux_dict},
    )
    theirs = executor.forward(is_train=False, data=mx.nd.array(images))[0].asnumpy()

    ours = Backbone(graph, arrays).eval()(flow.tensor(images)).numpy()
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
