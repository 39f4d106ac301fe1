"""What our ONNX files say about themselves, in their ``metadata_props``."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Set
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from interchange.onnx.form import ExportForm

TRAINING_ARRAYS = "training_arrays"  # arrays that inference does not use
MEAN, SCALE = "input_mean", "input_scale"  # of a preprocessing that the file leaves to its callers
LAYOUT = "input_layout"
# Settings that say where the training ran; a file that is passed on does not name them, nor those that end in _dir.
_PLACES = ("join_token", "label_map", "models_root", "node_ips", "pretrained", "val_protocols")


def describe_snapshot(about: Mapping[str, Any], graph: NetworkGraph, form: ExportForm) -> dict[str, str]:
    """Return the metadata of the file that a snapshot is written to.

    Args:
        about: the snapshot's manifest.
        graph: its network.
        form: how the file is written.
    """
    if form.metadata == "none":
        return {}
    config = about["config"]
    facts = {
        **{key: str(config[key]) for key in ("network", "loss", "dataset")},
        "step": str(about["step"]),
        **_describe_input(graph, form),
        "source_sha256": about["files"]["backbone.safetensors"]["sha256"],
    }
    if form.metadata == "full":
        facts["config"] = json.dumps(drop_places(config), sort_keys=True)
    return facts


def _describe_input(graph: NetworkGraph, form: ExportForm) -> dict[str, str]:
    mean, scale = preprocessing(graph)
    facts = {"input": "RGB, 0..255", "preprocessing": f"inside the model: (x - {mean}) * {scale}"}
    if not form.preprocess:
        facts = {
            "input": f"(RGB - {mean}) * {scale}, RGB in 0..255",
            "preprocessing": f"outside the model: (x - {mean}) * {scale}",
            MEAN: repr(mean),
            SCALE: repr(scale),
        }
    return facts | ({LAYOUT: form.layout} if form.layout != "NCHW" else {})


def preprocessing(graph: NetworkGraph) -> tuple[float, float]:
    """Return mean and scale of ``(x - mean) * scale``, the first step of a network; 0 and 1 if it has none."""
    for node in graph.nodes:
        if node.op == "scale_shift":
            return float(node.attrs["mean"]), float(node.attrs["scale"])
    return 0.0, 1.0


def drop_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without paths and addresses of the machines that trained."""
    kept = {key: value for key, value in config.items() if key not in _PLACES and not key.endswith("_dir")}
    return {key: value for key, value in kept.items() if not _is_place(value)}


def _is_place(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_is_place, value))
    return isinstance(value, str) and any(kind(value).is_absolute() for kind in (PurePosixPath, PureWindowsPath))


def describe_training_arrays(graph: NetworkGraph, arrays: Mapping[str, np.ndarray], stored: Set[str]) -> dict[str, str]:
    """Return the metadata for the parameters that are not ``stored``: float32 in base64, as JSON by name."""
    left = {name: np.asarray(arrays[name], "<f4").tobytes() for name in graph.parameters() if name not in stored}
    texts = {name: base64.b64encode(content).decode() for name, content in left.items()}
    return {TRAINING_ARRAYS: json.dumps(texts)} if texts else {}
