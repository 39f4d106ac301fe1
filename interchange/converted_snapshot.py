"""Snapshots of converted models: what a training of this project would have written, before its first step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from interchange.foreign_model import ForeignModel
from snapshots.layout import HeadShard, describe_network
from snapshots.writer import Contents, SnapshotWriter


@dataclass(frozen=True, eq=False)
class ConvertedModel:
    """A foreign model as one of our networks: settings, description, arrays, and notes on what was recomputed.

    ``foreign`` is the model as it was taken, if it was read from a file.
    """

    config: Mapping[str, Any]
    network: NetworkGraph
    arrays: Mapping[str, np.ndarray]
    head: Mapping[str, np.ndarray]
    notes: list[str]
    foreign: ForeignModel | None = None


def write_converted(path: Path, model: ConvertedModel, source: Mapping[str, Any]) -> None:
    """Write the snapshot ``path``: complete if there are class rows, so that training can resume, else backbone-only.

    Args:
        path: the folder to create.
        model: the model. Momentum, step and position start at zero.
        source: the origin of the model, for the manifest.

    Raises:
        UserError: ``path`` exists or cannot be written, or the class rows do not fit the embedding.
    """
    if path.exists():
        raise UserError(f"{path} exists already; remove it or choose another name")
    about = {
        "step": 0,
        "position": 0,
        "epoch": 0,
        "seed": model.config["seed"],
        "ranks": 1,
        "highest_accuracy": 0.0,
        "config": dict(sorted(model.config.items())),
        **describe_network(model.network),
        "source": dict(source),
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    contents, shard = Contents(about, model.arrays), None
    if model.head:
        shard, about["fc7"] = _make_shard(model)
        trainable = [name for name, spec in model.network.parameters().items() if spec.trainable]
        momentum = {name: np.zeros_like(model.arrays[name]) for name in trainable}
        contents = Contents(about, model.arrays, {"momentum": momentum})
    writer = SnapshotWriter()
    writer.start(path, contents, shard)
    writer.finish()


def _make_shard(model: ConvertedModel) -> tuple[HeadShard, dict[str, Any]]:
    classes, size = model.head["fc7_weight"].shape
    if size != model.network.embedding_size:
        raise UserError(f"fc7_weight has {size} columns, the embedding {model.network.embedding_size}")
    arrays = {}
    for name, array in model.head.items():
        arrays[name], arrays[f"{name}_momentum"] = array, np.zeros_like(array)
    shard = HeadShard(0, 1, 0, classes, arrays)
    listed = [{"file": shard.file, "rows": [0, classes]}]
    about = {"num_classes": classes, "emb_size": size, "shards": listed, "num_subcenters": 1}
    about["loss_state"] = dict(model.foreign.loss_state) if model.foreign else {}
    return shard, about
