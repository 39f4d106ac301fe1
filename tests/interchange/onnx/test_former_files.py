"""Files that earlier versions of this project wrote are read bit by bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from backbones import build_network
from interchange.onnx.reader import read_onnx
from interchange.onnx.writer import write_onnx
from tests.support.conversion import bring_in

NETWORKS = {
    "mbf": {"net_name": "mbf", "net_output": "GDC", "net_multiplier": 1.0, "emb_size": 16, "image_size": 112},
    "vit": {"net_name": "vit", "num_layers": 2, "vit_width": 32, "image_size": 30, "emb_size": 16},
}


def as_before(model: onnx.ModelProto, constant: str) -> onnx.ModelProto:
    """Write the preprocessing as Sub and Mul, with the name of a constant, and Split without its sizes."""
    graph = model.graph
    scale, offset = (numpy_helper.to_array(node.attribute[0].t).reshape(()) for node in graph.node[:2])
    new = {"preprocess_mean": np.round(np.float32(offset / scale), 3), constant: scale}
    kept = [tensor for tensor in graph.initializer if not tensor.name.endswith("_part_sizes")]
    nodes = [
        helper.make_node("Sub", ["data", "preprocess_mean"], ["preprocess_centered"], name="_minusscalar0"),
        helper.make_node("Mul", ["preprocess_centered", constant], ["preprocess"], name="_mulscalar0"),
        *graph.node[4:],
    ]
    for node in nodes:
        if node.op_type == "Split":
            del node.input[1:]
    body = helper.make_graph(
        nodes,
        graph.name,
        graph.input,
        graph.output,
        [*(numpy_helper.from_array(array, name) for name, array in new.items()), *kept],
    )
    former = helper.make_model(body, opset_imports=model.opset_import, ir_version=8)
    helper.set_model_props(former, {item.key: item.value for item in model.metadata_props})
    onnx.checker.check_model(former)
    return former


@pytest.mark.parametrize(("name", "constant"), [("mbf", "preprocess_scale"), ("vit", "preprocess_factor")])
def test_subtraction_first_and_split_without_sizes(tmp_path: Path, random_arrays, name: str, constant: str) -> None:
    graph = build_network(NETWORKS[name])
    arrays = random_arrays(graph, 5)
    model = write_onnx(graph, arrays, {"config": json.dumps(NETWORKS[name])})
    assert [node.op_type for node in model.graph.node[2:4]] == ["Mul", "Sub"]
    onnx.save(as_before(model, constant), tmp_path / "model.onnx")
    found, adaptation = bring_in(read_onnx(tmp_path / "model.onnx"))
    assert found.network.nodes == graph.nodes and not adaptation.notes
    assert {key: array.tobytes() for key, array in adaptation.arrays.items()} == {
        key: array.tobytes() for key, array in arrays.items()
    }
