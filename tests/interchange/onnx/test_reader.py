from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

from backbones import build_network
from backbones.networks.output_layers import OUTPUT_LAYERS
from common.errors import UserError
from interchange.embedders import graph_embedder, oneflow_embedder, onnx_embedder
from interchange.matching.fold_batch_norm import fold_batch_norms
from interchange.matching.recognise import AUTO, recognise
from interchange.mxnet.checkpoint import read_checkpoint, write_checkpoint
from interchange.onnx.form import ExportForm
from interchange.onnx.reader import OUTSIDE, read_onnx
from interchange.onnx.writer import write_onnx
from sample_config import network as NETWORKS
from tests.support.conversion import bring_in, relative_error
from tests.support.foreign_onnx import torch_style

SMALL = {"y1": NETWORKS.y1, "r18": NETWORKS.r18}
ROUND_TRIPS = {f"{name}-{kind}": {**SMALL[name], "net_output": kind} for name in SMALL for kind in OUTPUT_LAYERS}
for name in SMALL:  # the feature map itself is the embedding
    ROUND_TRIPS[f"{name}-Z"]["emb_size"] = 512 * 7 * 7
TORCHS_OWN = {"y1": "y1", "r18": "iresnet18"}  # with its constants and no dropout, r18 is that of PyTorch's trainer
QUICK = {*(f"y1-{kind}" for kind in OUTPUT_LAYERS), "r18-E"}
ROUND_TRIPS |= {n: dict(o) for n, o in NETWORKS.items() if n not in SMALL and not n.startswith("vit")}


def images(count: int = 4) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 3, 112, 112)).astype(np.float32)


@pytest.fixture
def trained(random_arrays):
    """The network of some options with arrays as a training would leave them."""

    def make(options):
        graph = build_network(options)
        arrays = random_arrays(graph, 2)
        return graph, {n: np.ones_like(a) if graph.parameters()[n].fixed else a for n, a in arrays.items()}

    return make


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in ROUND_TRIPS])
def test_both_formats_give_the_weights_back_bit_by_bit(tmp_path: Path, trained, name: str) -> None:
    graph, arrays = trained(ROUND_TRIPS[name])
    config = json.dumps({**ROUND_TRIPS[name], "network": name})
    write_checkpoint(tmp_path / "model", 0, graph, arrays)
    onnx.save(write_onnx(graph, arrays, {"config": config}), tmp_path / "model.onnx")
    for foreign in (read_checkpoint(tmp_path / "model", 0), read_onnx(tmp_path / "model.onnx")):
        found, adaptation = bring_in(foreign)
        assert not adaptation.notes
        assert [n.name for n in build_network(found.options).nodes] == [n.name for n in graph.nodes]
        for key, array in arrays.items():
            assert adaptation.arrays[key].tobytes() == array.tobytes(), key


@pytest.mark.parametrize("folded", [True, False], ids=["folded", "plain"])
@pytest.mark.parametrize("name", ["y1", pytest.param("r18", marks=pytest.mark.slow)])
def test_the_style_of_torch(tmp_path: Path, trained, name: str, folded: bool) -> None:
    graph, arrays = trained(SMALL[name])
    model = torch_style(graph, arrays, folded)
    onnx.save(model, tmp_path / "model.onnx")
    foreign = read_onnx(tmp_path / "model.onnx")
    assert not foreign.preprocesses
    found, adaptation = bring_in(foreign)
    assert found.name == TORCHS_OWN[name]
    assert bool(adaptation.notes) == (folded or name == "y1")
    mean, scale = OUTSIDE
    expected = onnx_embedder(model.SerializeToString())((images() - mean) * scale)
    assert relative_error(oneflow_embedder(found.network, adaptation.arrays)(images()), expected) < 1e-4
    # the file can be run as it is, too
    assert relative_error(graph_embedder(foreign.network, foreign.arrays)(images()), expected) < 1e-4


def test_the_style_of_mxnets_exporter(tmp_path: Path, trained) -> None:
    """Its files have the preprocessing as _minusscalar0 and _mulscalar0; MXNet's own exporter writes one here."""
    graph, arrays = trained(SMALL["y1"])
    symbol, params = write_checkpoint(tmp_path / "model", 0, graph, arrays)
    exporter = pytest.importorskip("mxnet.onnx")
    exporter.export_model(str(symbol), str(params), [(1, 3, 112, 112)], np.float32, str(tmp_path / "model.onnx"))
    names = [node.name for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert "_mulscalar0" in names
    foreign = read_onnx(tmp_path / "model.onnx")
    assert foreign.preprocesses
    found, adaptation = bring_in(foreign)
    assert found.name == "y1"
    for key, array in arrays.items():
        np.testing.assert_array_equal(adaptation.arrays[key], array, err_msg=key)


def test_folding_changes_no_number_that_matters(trained) -> None:
    graph, arrays = trained(SMALL["y1"])
    folded = fold_batch_norms(graph, arrays)
    assert not any(node.op == "batch_norm" for node in folded[0].nodes) and folded[0].output == "fc1"
    expected = graph_embedder(graph, arrays)(images())
    assert relative_error(graph_embedder(*folded)(images()), expected) < 1e-5
    assert relative_error(oneflow_embedder(*folded)(images()), expected) < 1e-4


def test_half_precision_halves_the_file(tmp_path: Path, trained) -> None:
    graph, arrays = trained(SMALL["y1"])
    whole, half = (write_onnx(graph, arrays, {}, form=ExportForm(half=half)) for half in (False, True))
    assert half.ByteSize() < 0.6 * whole.ByteSize()
    error = relative_error(*(onnx_embedder(m.SerializeToString())(images()) for m in (half, whole)))
    assert 0 < error < 2e-2
    onnx.save(half, tmp_path / "half.onnx")
    found, adaptation = bring_in(read_onnx(tmp_path / "half.onnx"))
    for key, spec in graph.parameters().items():
        expected = arrays[key].astype(np.float16).astype(np.float32) if spec.kind == "weight" else arrays[key]
        np.testing.assert_array_equal(adaptation.arrays[key], expected)


def damage_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[3].raw_data = model.graph.initializer[3].raw_data[:-4]


def move_outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[2]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def rename_weight(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Conv").input[1] = "nowhere"


DAMAGES = {
    "a short array": (damage_weight, "is damaged|not a valid ONNX"),
    "an array elsewhere": (move_outside, "lies in another file|not a valid ONNX"),
    "a missing array": (rename_weight, "is missing|not a valid ONNX"),
    "an unknown operator": (lambda m: setattr(m.graph.node[4], "op_type", "Erf"), "is a Erf; known|not a valid ONNX"),
    "no nodes": (lambda m: m.graph.ClearField("node"), "has no nodes|not a valid ONNX"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_clear_line(tmp_path: Path, trained, name: str) -> None:
    model = write_onnx(*trained(SMALL["y1"]), {})
    change, message = DAMAGES[name]
    change(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=message) as caught:
        read_onnx(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value) and "model.onnx" in str(caught.value)


def test_a_cut_file_and_no_file(tmp_path: Path, trained) -> None:
    whole = write_onnx(*trained(SMALL["y1"]), {}).SerializeToString()
    for content in (whole[: len(whole) // 2], b"", b"\xff" * 100, b"hello\n"):
        (tmp_path / "model.onnx").write_bytes(content)
        with pytest.raises(UserError, match="ONNX"), warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning would be an extra line
            read_onnx(tmp_path / "model.onnx")
    (tmp_path / "model.json").write_bytes(whole)  # the name says nothing
    assert read_onnx(tmp_path / "model.json").network.output == "fc1"
    with pytest.raises(UserError, match="cannot be read"):
        read_onnx(tmp_path / "absent.onnx")


def test_a_name_that_does_not_fit_is_an_error(tmp_path: Path, trained) -> None:
    onnx.save(write_onnx(*trained(SMALL["y1"]), {}), tmp_path / "model.onnx")
    foreign = read_onnx(tmp_path / "model.onnx")
    assert recognise(foreign.network, NETWORKS, AUTO, "model").name == "y1"
    with pytest.raises(UserError, match="model is not r18: where it has"):
        recognise(foreign.network, NETWORKS, "r18", "model")
    with pytest.raises(UserError, match="model is not y2: where it has .* the file has .*, its 'conv_2_dw_conv2d'"):
        recognise(foreign.network, NETWORKS, "y2", "model")
    sizeless = {"z": {**NETWORKS.y1, "net_output": "Z"}}
    with pytest.raises(UserError, match="model is not z: it cannot have the image and embedding sizes of the file"):
        recognise(foreign.network, sizeless, "z", "model")


@pytest.mark.parametrize(
    "hint",
    [
        {"net_name": "vit", "num_layers": 1 << 40},
        {"net_name": "fmobilefacenet", "net_blocks": [1 << 40, 1, 1, 1]},
        {"net_name": ["y1"]},
        {"net_name": "fmobilenet", "net_multiplier": float("inf")},
        *({**SMALL["y1"], "network": name} for name in (["y1"], "y1\n", "y" * 1000)),
    ],
)
def test_settings_that_make_no_sense_are_not_followed(trained, hint: dict) -> None:
    graph, _ = trained(SMALL["y1"])
    start = time.perf_counter()
    assert recognise(graph, NETWORKS, AUTO, "model", hint).name == "y1"
    assert time.perf_counter() - start < 20
