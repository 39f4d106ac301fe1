"""Files that MXNet's own ONNX exporter writes, of symbols built with its API and of those written here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from backbones import build_network
from interchange.agreement import compare
from interchange.embedders import graph_embedder, mxnet_embedder
from interchange.image_input import InputFlags, take_images
from interchange.mxnet.checkpoint import read_checkpoint, write_checkpoint
from interchange.onnx.reader import read_onnx
from interchange.onnx_reference import WALK, run_file
from sample_config import network as NETWORKS
from settings.convert_command import convert_model
from tests.backbones import mxnet_networks
from tests.support.conversion import relative_error

mx = pytest.importorskip("mxnet")
exporter = pytest.importorskip("mxnet.onnx")
WIDTHS = [64, 64, 128, 256, 512]


@dataclass(frozen=True)
class Exported:
    """A case: options of the network, the units of a symbol of MXNet's API, whether onnxruntime runs the file."""

    name: str
    options: dict[str, Any]
    units: tuple[int, ...] = ()
    runs: bool = False
    dynamic: bool = False


CASES = {
    "y1": Exported("y1", NETWORKS.y1),
    "y1 by MXNet's API": Exported("y1", NETWORKS.y1, units=(1, 4, 6, 2)),
    "any batch": Exported("y1-net_outputGAP", {**NETWORKS.y1, "net_output": "GAP"}, dynamic=True),
    "every gamma fixed": Exported("m05", NETWORKS.m05),
    "one slope for all channels": Exported("mnas025", NETWORKS.mnas025, runs=True),
    "SE": Exported("r18-net_se1", {**NETWORKS.r18, "net_se": 1}),
    "r18 by MXNet's API": Exported("r18", NETWORKS.r18, units=(2, 2, 2, 2)),
    "r50 by MXNet's API": Exported("r50", NETWORKS.r50, units=(3, 4, 14, 3)),
}
SLOW = ("SE", "r18 by MXNet's API", "r50 by MXNet's API")


def export(folder: Path, case: Exported, arrays: dict[str, np.ndarray]) -> Path:
    """Let MXNet export a checkpoint ``model,3``; its gammas are as in ``arrays``, also where the symbol fixes them."""
    graph, prefix = build_network(case.options), str(folder / "model")
    specs = graph.parameters()
    write_checkpoint(prefix, 3, graph, arrays)
    symbol = mx.sym.load(f"{prefix}-symbol.json")
    if case.units:
        is_mobile = case.options["net_name"] == "fmobilefacenet"
        symbol = (
            mxnet_networks.mobilefacenet(list(case.units), "GDC", 128)
            if is_mobile
            else mxnet_networks.fresnet(list(case.units), WIDTHS, "E", 512)
        )
    both: tuple[dict, dict] = ({}, {})
    for name, array in arrays.items():
        both[specs[name].auxiliary][name] = mx.nd.array(array)
    mx.model.save_checkpoint(prefix, 3, symbol, *both)
    target, any_batch = folder / "model.onnx", {"dynamic": True, "dynamic_input_shapes": [("N", 3, 112, 112)]}
    files = (f"{prefix}-symbol.json", f"{prefix}-0003.params")
    exporter.export_model(*files, [(1, 3, 112, 112)], np.float32, str(target), **(any_batch if case.dynamic else {}))
    return target


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in CASES])
def test_what_mxnet_exports_embeds_as_mxnet_does(tmp_path: Path, random_arrays, name: str, capsys) -> None:
    case = CASES[name]
    path = export(tmp_path, case, random_arrays(build_network(case.options), 2))
    model = convert_model(take_images(read_onnx(path), InputFlags()), "auto")
    assert model.config.network == case.name
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 112, 112)).astype(np.float32)
    ours = graph_embedder(model.network, model.arrays)
    assert relative_error(ours(images), mxnet_embedder(tmp_path / "model", 3)(images)) < 1e-4
    assert sum("MXNet's, drops fix_gamma: " in note and "taken as 1" in note for note in model.foreign.notes) == 1
    reference = run_file(path, model.foreign)
    assert reference.name == ("onnxruntime" if case.runs else WALK)
    assert ("onnxruntime refuses the file" in capsys.readouterr().out) == (not case.runs)
    assert compare(images, reference.embed, ours).difference < 1e-4


def test_gammas_of_one_need_no_words(tmp_path: Path, random_arrays) -> None:
    graph = build_network(NETWORKS.y1)
    arrays = {n: np.ones_like(a) if graph.parameters()[n].fixed else a for n, a in random_arrays(graph, 2).items()}
    path = export(tmp_path, CASES["y1"], arrays)
    model = convert_model(read_onnx(path), "auto")
    assert not model.foreign.notes and not model.foreign.ones
    for name, array in arrays.items():
        np.testing.assert_array_equal(model.arrays[name], array, err_msg=name)


def test_the_exporter_writes_what_the_documentation_says(tmp_path: Path, random_arrays) -> None:
    """Its file of our checkpoint has slopes [C], which onnxruntime refuses: tools/oneflow2onnx.py is the way."""
    path = export(tmp_path, CASES["y1"], random_arrays(build_network(NETWORKS.y1), 2))
    model = onnx.load(path)
    slopes = {node.input[1] for node in model.graph.node if node.op_type == "PRelu"}
    assert {len(tensor.dims) for tensor in model.graph.initializer if tensor.name in slopes} == {1}
    assert read_checkpoint(tmp_path / "model", 3).network.output == "fc1"
