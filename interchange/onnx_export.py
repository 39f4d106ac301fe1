"""Exports snapshots as ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from backbones.graph.network_graph import NetworkGraph
from common.errors import require
from interchange.embedders import Embed, onnx_embedder
from interchange.onnx.form import ExportForm
from interchange.onnx.metadata import describe_snapshot, preprocessing
from interchange.onnx.writer import write_onnx


def export_model(
    about: Mapping[str, Any], graph: NetworkGraph, arrays: Mapping[str, np.ndarray], form: ExportForm
) -> onnx.ModelProto:
    """Return a snapshot as an ONNX model that says where it comes from.

    Args:
        about: the snapshot's manifest.
        graph: its network.
        arrays: its arrays.
        form: how the model is written.

    Raises:
        UserError: the preprocessing is to be left out of a network that has none of its own.
    """
    has_own = any(node.op == "scale_shift" for node in graph.nodes)
    require(
        form.preprocess or has_own,
        f"--preprocess 0: {about['config']['network']} normalises images by its first BatchNorm; omit the flag",
    )
    return write_onnx(graph, arrays, describe_snapshot(about, graph, form), form)


def exported_embedder(model: bytes, graph: NetworkGraph, form: ExportForm) -> Embed:
    """Return a function that embeds plain images in onnxruntime with a model of ``export_model``, of any form."""
    embed = onnx_embedder(model)
    if form.preprocess:
        return embed
    mean, scale = np.float32(preprocessing(graph))
    return lambda images: embed((images - mean) * scale)
