"""What is said about the images of another program's model reaches everything that is made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from backbones import build_network
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from interchange.converted_snapshot import write_converted
from interchange.embedders import graph_embedder, mxnet_embedder, onnx_embedder
from interchange.foreign_model import ForeignModel
from interchange.image_input import InputFlags, as_the_file_takes, format_shift, take_images
from interchange.mxnet.checkpoint import read_checkpoint, write_checkpoint
from interchange.onnx.reader import read_onnx
from interchange.onnx.writer import write_onnx
from interchange.open_model import open_model
from interchange.pretrained import read_pretrained
from interchange.pytorch.state import read_torch, write_torch
from sample_config import network as NETWORKS
from settings.convert_command import convert_model
from snapshots.reader import Snapshot
from tests.support.conversion import relative_error
from tests.support.foreign_onnx import torch_style

SAID = InputFlags("bgr", 0.0, 1 / 255)
Y1 = dict(NETWORKS.y1)


def images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 3, 112, 112)).astype(np.float32)


def test_all_that_is_made_of_a_model_takes_its_images_as_was_said(tmp_path: Path, y1) -> None:
    file = torch_style(*y1, folded=False)
    onnx.save(file, tmp_path / "model.onnx")
    expected = onnx_embedder(file.SerializeToString())((images()[:, ::-1] / 255).astype(np.float32))
    opened = open_model(str(tmp_path / "model.onnx"), SAID)
    assert opened.about["color_order"] == "bgr"
    assert relative_error(graph_embedder(opened.network, opened.arrays)(images()), expected) < 1e-4

    model = convert_model(take_images(read_onnx(tmp_path / "model.onnx"), SAID), "y1")
    assert (model.config.input_mean, model.config.input_scale) == (0.0, 1 / 255)
    write_converted(tmp_path / "snapshot", model, {})
    snapshot = Snapshot.open(tmp_path / "snapshot")
    assert snapshot.about["preprocessing"] == {"mean": 0.0, "scale": 1 / 255, "inside_network": True}
    network, arrays = build_network(snapshot.about["config"]), snapshot.backbone()
    write_torch(tmp_path / "model.pth", network, arrays)
    write_checkpoint(tmp_path / "mx", 0, network, arrays)
    embedders = {
        "snapshot": graph_embedder(network, arrays),
        "ONNX": onnx_embedder(write_onnx(network, arrays, {}).SerializeToString()),
        "MXNet": mxnet_embedder(tmp_path / "mx", 0),
    }
    outside = take_images(read_torch(tmp_path / "model.pth", NETWORKS), InputFlags("rgb", 0.0, 1 / 255))
    embedders["PyTorch"] = graph_embedder(outside.network, outside.arrays)
    for name, embed in embedders.items():
        assert relative_error(embed(images()), expected) < 1e-4, name

    said = {"color_order": "bgr", "input_mean": 0.0, "input_scale": 1 / 255}
    for source, run in ((tmp_path / "snapshot", said | {"color_order": "rgb"}), (tmp_path / "model.onnx", said)):
        taken = read_pretrained(str(source), build_network({**Y1, **run}), run).arrays
        for name, array in arrays.items():
            np.testing.assert_array_equal(taken[name], array, err_msg=f"{source.name}: {name}")
    with pytest.raises(
        UserError, match=r"takes images as \(x - 0\) / 255 and this run as \(x - 127.5\) / 128; add --in"
    ):
        read_pretrained(str(tmp_path / "snapshot"), build_network(Y1), {})
    with pytest.raises(
        UserError, match=r"takes images as \(x - 0\) / 255 and this run as \(x - 0\) / 128; add --input"
    ):
        read_pretrained(
            str(tmp_path / "snapshot"), build_network({**Y1, "input_mean": 0.0, "input_scale": 1 / 128}), {}
        )
    with pytest.raises(UserError, match="is a snapshot and says how it takes images; omit --color_order"):
        read_pretrained(str(tmp_path / "snapshot"), network, said)
    onnx.save(write_onnx(network, arrays, {}), tmp_path / "inside.onnx")
    with pytest.raises(UserError, match="subtracts 0, the network's 127.5; add --input_mean 0 --input_scale 0.00392"):
        read_pretrained(str(tmp_path / "inside.onnx"), build_network(Y1), {})


@pytest.mark.parametrize("flags", [InputFlags(), InputFlags("bgr"), InputFlags("rgb", 127.5, 1 / 128)])
def test_a_symbol_without_preprocessing_takes_pixels_as_they_are(tmp_path: Path, y1, flags: InputFlags) -> None:
    graph, arrays = y1
    bare, renamed = NetworkGraph(), {}
    for node in graph.nodes:
        if node.op == "scale_shift":
            renamed[node.name] = node.inputs[0]
        else:
            bare.add_like(graph, node, [renamed.get(name, name) for name in node.inputs])
    write_checkpoint(tmp_path / "mx", 0, bare, arrays)
    foreign = take_images(read_checkpoint(tmp_path / "mx", 0), flags)
    what = "(x - 127.5) / 128: as the flags say" if flags.input_scale else "0..255 as they are"
    assert what in foreign.notes[0]
    theirs = mxnet_embedder(tmp_path / "mx", 0)(as_the_file_takes(foreign)(images()))
    assert relative_error(graph_embedder(foreign.network, foreign.arrays)(images()), theirs) < 1e-4


def test_the_channels_of_another_first_layer_stay() -> None:
    graph = NetworkGraph()
    graph.global_pool(graph.input("data", (3, 8, 8)), "pool")
    with pytest.raises(UserError, match="model: --color_order bgr: its first layer, pool, is a global_pool"):
        take_images(ForeignModel("model", graph, {}), InputFlags("bgr"))


@pytest.mark.parametrize(
    ("mean", "scale", "text"),
    [
        (127.5, 1 / 127.5, "(x - 127.5) / 127.5"),
        (127.5, 0.0078125, "(x - 127.5) / 128"),
        (0.0, 1.0, "(x - 0) * 1"),
        (0.0, 0.017, "(x - 0) * 0.017"),
        (0.0, 0.0, "(x - 0) * 0"),
    ],
)
def test_a_preprocessing_is_shown_as_people_write_it(mean: float, scale: float, text: str) -> None:
    assert format_shift({"mean": mean, "scale": scale}) == text
