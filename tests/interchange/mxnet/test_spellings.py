"""Symbols as other versions and bindings of MXNet spell them; MXNet itself is the judge of what a spelling means."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from backbones import build_network
from common.errors import UserError
from interchange.embedders import graph_embedder, mxnet_embedder
from interchange.mxnet.attributes import SymbolNode
from interchange.mxnet.checkpoint import read_checkpoint, write_checkpoint
from sample_config import network as NETWORKS
from tests.support.conversion import require_close

BOOLEANS = {"True": True, "False": False}


def python_2(text: str) -> str:
    return text.replace(",)", ")").replace(", ", "L, ").replace(")", "L)") if text.startswith("(") else text.lower()


def numbers(text: str) -> str:
    return str(int(BOOLEANS[text])) if text in BOOLEANS else text


def brackets(text: str) -> str:
    text = text.replace(" ", "").replace("(", " [ ").replace(")", ",]")
    return text.upper() if text in BOOLEANS else text


SPELLINGS: dict[str, tuple[str, Callable[[str], str]]] = {
    "Python 2's tuples, and booleans of other languages": ("attr", python_2),
    "booleans as numbers, under the oldest key": ("param", numbers),
    "brackets and capitals": ("attrs", brackets),
}


@pytest.fixture(scope="module")
def network():
    """A y1 with a pooling that is not global and a BatchNorm of each kind, and arrays like trained ones."""
    graph = build_network({**NETWORKS.y1, "net_output": "GAP", "net_blocks": (1, 1, 1, 1)})
    rng = np.random.default_rng(3)
    arrays = {name: rng.uniform(0.5, 1.5, spec.shape).astype(np.float32) for name, spec in graph.parameters().items()}
    for name, spec in graph.parameters().items():
        if spec.kind == "weight":
            arrays[name] = (arrays[name] - 1) * np.float32(np.sqrt(24 / np.prod(spec.shape[1:])))
    return graph, arrays


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_spelling_means_what_it_means_to_mxnet(tmp_path: Path, network, name: str) -> None:
    graph, arrays = network
    symbol, _ = write_checkpoint(tmp_path / "model", 0, graph, arrays)
    before = read_checkpoint(tmp_path / "model", 0)
    content, (key, spell) = json.loads(symbol.read_text()), SPELLINGS[name]
    for node in content["nodes"]:
        attrs = {each: spell(text) for each, text in node.pop("attrs", {}).items()}
        if attrs:
            node[key] = attrs
    symbol.write_text(json.dumps(content))
    foreign = read_checkpoint(tmp_path / "model", 0)
    assert [node.attrs for node in foreign.network.nodes] == [node.attrs for node in before.network.nodes]
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 112, 112)).astype(np.float32)
    theirs = mxnet_embedder(tmp_path / "model", 0)(images)
    require_close(graph_embedder(foreign.network, foreign.arrays)(images), theirs, 1e-4, name)


TEXTS = {
    "stride": ("(2, 2)", "(2L, 2L)", "[2,2]", "[2L, 2L,]", "()", "(+2, 02)", "(2.0, 2.0)", "(2l, 2l)", ""),
    "num_group": ("1", " 1 ", "+1", "01", "1L", "1.0", "0x1", "one"),
    "no_bias": ("True", "true", "TRUE", "1", "yes", "T", "1.0", "None"),
}  # fmt: skip


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, texts in TEXTS.items() for text in texts])
def test_what_mxnet_refuses_is_refused_and_nothing_else(key: str, text: str) -> None:
    attrs = {"kernel": "(3, 3)", "num_filter": "4", "no_bias": "True", key: text}
    nodes = [{"op": "null", "name": name, "inputs": []} for name in ("data", "weight")]
    nodes.append({"op": "Convolution", "name": "conv", "attrs": attrs, "inputs": [[0, 0, 0], [1, 0, 0]]})
    content = {"nodes": nodes, "arg_nodes": [0, 1], "node_row_ptr": [0, 1, 2, 3], "heads": [[2, 0, 0]]}
    try:
        shape = mx.sym.load_json(json.dumps(content)).infer_shape(data=(1, 3, 8, 8))[1][0]
    except mx.MXNetError:
        shape = None
    node = SymbolNode("Convolution", "conv", attrs)
    try:
        stride = node.lengths("stride", ()) or (1, 1)
        node.whole("num_group", 1), node.flag("no_bias", False)
    except ValueError as error:
        assert shape is None and key in str(error)
    else:
        assert shape is not None and shape[2] == 5 // stride[0] + 1


@pytest.mark.parametrize(
    ("op", "change", "message"),
    [
        ("BatchNorm", {"axis": "3"}, "over axis 3, which no known network has"),
        ("BatchNorm", {"fix_gamma": "no"}, "fix_gamma is 'no', neither true nor false"),
        ("FullyConnected", {"flatten": "false"}, "of the last axis alone"),
        ("Convolution", {"layout": "NHWC"}, "of layout NHWC"),
        ("Pooling", {"global_pool": "0"}, "is not an embedding|shape|does not fit|weight has"),
    ],
)
def test_settings_that_change_the_result_are_not_passed_over(
    tmp_path: Path, network, op: str, change: dict, message: str
) -> None:
    symbol, _ = write_checkpoint(tmp_path / "model", 0, *network)
    content = json.loads(symbol.read_text())
    next(node for node in content["nodes"] if node["op"] == op)["attrs"].update(change)
    symbol.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        read_checkpoint(tmp_path / "model", 0)
    assert "\n" not in str(caught.value)
