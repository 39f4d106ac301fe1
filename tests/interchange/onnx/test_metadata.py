from __future__ import annotations

import json

import pytest

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from interchange.onnx.form import ExportForm
from interchange.onnx.metadata import describe_snapshot
from interchange.onnx_export import export_model
from sample_config import generate_config

PLACE = "/trainer/secret"
FILES = {"backbone.safetensors": {"sha256": "a1b2"}}


def network(preprocesses: bool = True) -> NetworkGraph:
    graph = NetworkGraph()
    x = graph.input("data", (3, 4, 4))
    if preprocesses:
        x = graph.scale_shift(x, "preprocess", 127.5, 1 / 127.5)
    graph.flatten(x, "fc1")
    return graph


def manifest() -> dict:
    """The manifest of a snapshot in whose configuration every text is a path of the training machine."""
    config = dict(generate_config("y1", "orl", "arcface"))
    places = {name: f"{PLACE}/{name}" for name, value in config.items() if isinstance(value, str)}
    places |= {name: config[name] for name in ("network", "loss", "dataset")}
    config |= places | {"node_ips": ["10.1.2.3"], "val_targets": ["lfw", f"{PLACE}/mine.bin"]}
    config |= {"val_protocols": [f"ijb:{PLACE}/ijb"]}
    return {"config": config, "step": 7, "files": FILES}


def test_no_path_or_address_of_the_training_machine_is_written() -> None:
    facts = describe_snapshot(manifest(), network(), ExportForm())
    assert "secret" not in json.dumps(facts) and "10.1.2.3" not in json.dumps(facts)
    config = json.loads(facts["config"])
    assert config["network"] == "y1" and config["loss_m2"] == 0.5
    relative = manifest()
    relative["config"] |= {
        "dataset_dir": "../private/faces",
        "lfw_dataset_dir": "private/lfw",  # of --lfw_dataset_dir
        "pretrained": "C:\\models\\a.onnx",
        "val_targets": ["lfw"],
    }
    config = json.loads(describe_snapshot(relative, network(), ExportForm())["config"])
    assert not [name for name in config if name.endswith(("_dir", "_root", "_ips"))] and "pretrained" not in config
    assert config["val_targets"] == ["lfw"]


def test_metadata_come_in_three_lengths() -> None:
    short = describe_snapshot(manifest(), network(), ExportForm(metadata="short"))
    assert short == {
        "network": "y1",
        "loss": "arcface",
        "dataset": "orl",
        "step": "7",
        "input": "RGB, 0..255",
        "preprocessing": f"inside the model: (x - 127.5) * {1 / 127.5}",
        "source_sha256": "a1b2",
    }
    assert {*describe_snapshot(manifest(), network(), ExportForm())} == {*short, "config"}
    assert describe_snapshot(manifest(), network(), ExportForm(metadata="none")) == {}


def test_what_callers_have_to_do_is_said() -> None:
    facts = describe_snapshot(manifest(), network(), ExportForm(preprocess=False, layout="NHWC", metadata="short"))
    assert facts["preprocessing"] == f"outside the model: (x - 127.5) * {1 / 127.5}"
    assert (float(facts["input_mean"]), float(facts["input_scale"])) == (127.5, 1 / 127.5)
    assert facts["input_layout"] == "NHWC"


def test_a_network_without_preprocessing_has_none_to_leave_out() -> None:
    with pytest.raises(UserError, match="--preprocess 0: y1 normalises images by its first BatchNorm; omit the flag"):
        export_model(manifest(), network(preprocesses=False), {}, ExportForm(preprocess=False))
