"""Folded files give back the network that they were written from, as long as their weights are the same."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from backbones.networks.iresnet import build_residual_network
from backbones.networks.options import NetworkOptions
from common.errors import UserError
from interchange.embedders import onnx_embedder
from interchange.matching.adapt import adapt
from interchange.matching.canonical_layers import pair_layers
from interchange.onnx.form import ExportForm
from interchange.onnx.kept_norms import KEPT_NORMS
from interchange.onnx.reader import read_onnx
from interchange.onnx.writer import write_onnx
from tests.support.conversion import relative_error

FOLDED = ExportForm(fold=True)
UNITS = {"net_name": "fresnet", "image_size": 32, "emb_size": 32}


def residual(output: str = "E") -> NetworkGraph:
    """A small residual network: BatchNorms before and after convolutions, and after the fully connected layer."""
    options = NetworkOptions.from_config(UNITS | {"net_output": output})
    return build_residual_network([1, 1, 1, 1], [8, 8, 16, 16, 32], options)


CASES: dict[str, Callable[[], NetworkGraph]] = {
    "E": residual,
    "SFC": lambda: residual("SFC"),
    "mbf": lambda: build_network({"net_name": "mbf", "emb_size": 16, "image_size": 112, "net_multiplier": 1.0}),
}


@pytest.fixture
def hard_arrays(random_arrays) -> Callable[[NetworkGraph], dict[str, np.ndarray]]:
    """Arrays of which some channels are dead, nearly dead, negative or huge after folding."""

    def make(graph: NetworkGraph) -> dict[str, np.ndarray]:
        arrays = random_arrays(graph, 6)
        for name, spec in graph.parameters().items():
            if spec.fixed:
                arrays[name] = np.ones_like(arrays[name])
            elif spec.kind == "gamma":
                arrays[name][:5] = 0, 1e-30, -0.7, 1e4, -0.0
            elif spec.kind == "weight":
                arrays[name].reshape(-1)[:4] = 0, -0.0, 1e-38, 1e-42
        return arrays

    return make


def bring_back(path: Path, graph: NetworkGraph) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the arrays that a snapshot of the file would hold, and what was recomputed."""
    foreign = read_onnx(path)
    pairs = pair_layers(graph, foreign.network)
    assert pairs is not None
    return adapt(graph, pairs, foreign.network, foreign.arrays, foreign.training_arrays)


@pytest.mark.parametrize("case", CASES)
def test_every_bit_comes_back(tmp_path: Path, hard_arrays, case: str) -> None:
    graph = CASES[case]()
    arrays = hard_arrays(graph)
    model = write_onnx(graph, arrays, {}, FOLDED)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("BatchNormalization") < sum(node.op == "batch_norm" for node in graph.nodes)
    assert model.graph.output[0].name == "fc1" and kinds[-1] == "Gemm"
    onnx.save(model, tmp_path / "model.onnx")
    back = bring_back(tmp_path / "model.onnx", graph)
    assert not back.notes
    for name, array in arrays.items():
        assert back.arrays[name].tobytes() == array.tobytes(), name


@pytest.fixture
def folded(tmp_path: Path, random_arrays) -> tuple[NetworkGraph, dict[str, np.ndarray], Path]:
    graph = residual()
    arrays = random_arrays(graph, 7)
    onnx.save(write_onnx(graph, arrays, {}, FOLDED), tmp_path / "model.onnx")
    return graph, arrays, tmp_path / "model.onnx"


def test_changed_weights_are_read_as_they_are(folded) -> None:
    graph, _, path = folded
    model = onnx.load(path)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "conv0_weight")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), tensor.name))
    onnx.save(model, path)
    back = bring_back(path, graph)
    assert any("folded into its layer adds the bias" in note for note in back.notes)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32)).astype(np.float32)
    expected = onnx_embedder(model.SerializeToString())(images)
    again = write_onnx(graph, back.arrays, {}).SerializeToString()
    assert relative_error(onnx_embedder(again)(images), expected) < 1e-5


def test_half_precision_keeps_the_statistics(tmp_path: Path, random_arrays) -> None:
    graph = residual()
    arrays = random_arrays(graph, 8)
    onnx.save(write_onnx(graph, arrays, {}, ExportForm(fold=True, half=True)), tmp_path / "model.onnx")
    back = bring_back(tmp_path / "model.onnx", graph)
    assert back.arrays["bn0_moving_mean"].tobytes() == arrays["bn0_moving_mean"].tobytes()
    np.testing.assert_allclose(back.arrays["conv0_weight"], arrays["conv0_weight"], rtol=1e-3, atol=1e-6)


def test_short_metadata_keep_nothing(folded) -> None:
    graph, arrays, _ = folded
    model = write_onnx(graph, arrays, {"step": "3"}, ExportForm(fold=True, metadata="short"))
    assert [item.key for item in model.metadata_props] == ["step"]


def spoil(layers: dict[str, dict], how: str) -> None:
    layer = next(iter(layers.values()))
    if how == "short":
        layer["beta"] = layer["beta"][:-8]
    elif how == "long":
        layer["differences"] = base64.b64encode(b"\x00" * 40).decode()
    elif how == "bomb":
        import zlib

        layer["differences"] = base64.b64encode(zlib.compress(b"\x00" * (1 << 26))).decode()
    elif how == "name":
        layer["linear"] = "a.b"
    elif how == "twice":
        layer["linear"] = "data"
    elif how == "missing":
        del layer["eps"]
    else:
        layer["channels"] = {"-1": ""}


@pytest.mark.parametrize("how", ["short", "long", "bomb", "name", "twice", "missing", "channel"])
def test_damage_is_one_line(folded, how: str) -> None:
    _, _, path = folded
    model = onnx.load(path)
    item = next(item for item in model.metadata_props if item.key == KEPT_NORMS)
    kept = json.loads(item.value)
    spoil(kept["layers"], how)
    item.value = json.dumps(kept)
    onnx.save(model, path)
    with pytest.raises(UserError, match="model.onnx: its metadata 'folded_batch_norms' is damaged") as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)
