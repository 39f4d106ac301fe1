"""Every network, and every output type of each family, through MXNet and ONNX: the same weights and embeddings.

ONNX files carry their settings as the project's exporter writes them; of an MXNet file nothing is known but its graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from backbones.networks.output_layers import OUTPUT_LAYERS
from common.errors import UserError
from interchange.agreement import HALF_TOLERANCE, TOLERANCE
from interchange.embedders import mxnet_embedder, oneflow_embedder, onnx_embedder
from interchange.foreign_model import ForeignModel
from interchange.mxnet.checkpoint import read_checkpoint, write_checkpoint
from interchange.onnx.form import ExportForm
from interchange.onnx.reader import read_onnx
from interchange.onnx.writer import write_onnx
from sample_config import network as NETWORKS
from tests.support.conversion import bring_in, require_close
from tests.support.faces import orl_faces

# The smallest network of each family stands for it: the output layers see no more of it than its last feature map.
SMALLEST = ("r18", "iresnet18", "y1", "mbf", "m05", "mnas025", "d169", "vargfacenet")
# A convolution by 512 groups fits neither 1664 channels nor a map of one pixel.
WITHOUT = {("d169", "GDC"), ("vargfacenet", "GDC")}
MAPS = {"r18": 25088, "iresnet18": 25088, "y1": 25088, "mbf": 25088, "m05": 25088, "mnas025": 12544, "d169": 81536}
QUICK = {"y1", "vit_t", "mnas025-SFC", "mnas025-GNAP"}
SAME = {"r100_glint360k": "r100fc", "r49": "r50"}  # another name of the same network


def cases() -> dict[str, dict[str, Any]]:
    found = {name: dict(options) for name, options in NETWORKS.items()}
    for name in SMALLEST:
        for kind in OUTPUT_LAYERS:
            if (name, kind) not in WITHOUT and kind != NETWORKS[name].get("net_output", "E"):
                found[f"{name}-{kind}"] = {**NETWORKS[name], "net_output": kind}
                if kind == "Z":
                    found[f"{name}-{kind}"]["emb_size"] = MAPS.get(name, NETWORKS[name].get("emb_size", 512))
    return found


CASES = cases()


def require_equal(foreign: ForeignModel, graph: NetworkGraph, arrays: Mapping[str, np.ndarray]) -> str:
    """Check that the file is of this network, array by array; return what it is taken for."""
    found, adaptation = bring_in(foreign)
    for name, array in arrays.items():
        assert adaptation.arrays[name].tobytes() == array.tobytes(), name
    assert not adaptation.notes
    assert [node.name for node in found.network.nodes] == [node.name for node in graph.nodes]
    return found.name


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in CASES])
def test_weights_and_embeddings_survive(tmp_path: Path, random_arrays, name: str) -> None:
    graph = build_network(CASES[name])
    arrays = random_arrays(graph, 2)
    arrays |= {n: np.ones_like(arrays[n]) for n, spec in graph.parameters().items() if spec.fixed}
    faces = orl_faces(3)
    expected = oneflow_embedder(graph, arrays)(faces)
    whole = write_onnx(graph, arrays, {"config": json.dumps({**CASES[name], "network": name})})
    onnx.save(whole, tmp_path / "model.onnx")
    assert require_equal(read_onnx(tmp_path / "model.onnx"), graph, arrays) == name
    require_close(onnx_embedder(whole.SerializeToString())(faces), expected, TOLERANCE, f"{name} in onnxruntime")
    del whole
    half = write_onnx(graph, arrays, {}, form=ExportForm(half=True)).SerializeToString()
    require_close(onnx_embedder(half)(faces), expected, HALF_TOLERANCE, f"{name} in onnxruntime, float16")
    del half
    if name.startswith("vit"):
        with pytest.raises(UserError, match="MXNet has no"):
            write_checkpoint(tmp_path / "model", 0, graph, arrays)
        return
    write_checkpoint(tmp_path / "model", 0, graph, arrays)
    taken_for = require_equal(read_checkpoint(tmp_path / "model", 0), graph, arrays)
    assert name not in NETWORKS or taken_for == SAME.get(name, name)
    require_close(mxnet_embedder(tmp_path / "model", 0)(faces), expected, TOLERANCE, f"{name} in MXNet")
