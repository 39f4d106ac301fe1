"""The layout of a snapshot: a folder that is complete or absent, with everything a run needs to resume.

- ``backbone.safetensors``: weights and moving statistics under their MXNet names.
- ``momentum.safetensors``, with AdamW also ``variance.safetensors``: the optimizer's moments.
- ``fc7-00000-of-00002.safetensors``...: one shard of class rows each (weight, bias, their moments), float32 or, with
  ``fc7_dtype`` bf16, of type BF16. A triplet loss has none; its triplets to come are in ``data.safetensors``.
- ``ema``, with ``ema_decay``: a backbone-only snapshot within this one, of the average of the weights. Readers of the
  outer folder get the weights themselves.
- ``snapshot.json``: step, position in the data, config, preprocessing, versions, size and checksum of each file.

A backbone-only snapshot is the same with less in it. Nothing is pickled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backbones.graph.network_graph import NetworkGraph

MANIFEST = "snapshot.json"
BACKBONE = "backbone.safetensors"
DATA = "data.safetensors"
AVERAGE = "ema"
FORMAT = "insightface-oneflow-snapshot"
VERSION = 1
_FOLDER = re.compile(r"snapshot_(\d+)$")


@dataclass(frozen=True)
class HeadShard:
    """One rank's class rows: arrays whose first axis is the rows ``start`` .. ``stop - 1``, without padding rows."""

    index: int
    count: int
    start: int
    stop: int
    arrays: Mapping[str, np.ndarray]

    @property
    def file(self) -> str:
        """Name of the shard's file."""
        return f"fc7-{self.index:05d}-of-{self.count:05d}.safetensors"


def snapshot_path(root: Path, step: int) -> Path:
    """Return the folder of the snapshot after ``step`` steps."""
    return root / f"snapshot_{step}"


def snapshot_step(path: Path) -> int | None:
    """Return the step in a snapshot's name; None for any other name."""
    match = _FOLDER.match(path.name)
    return int(match[1]) if match else None


def describe_network(network: NetworkGraph) -> dict[str, Any]:
    """Return what a reader needs to feed images to the weights: the preprocessing inside the network, and sizes."""
    # A network without preprocessing, such as fresnet with net_input 2, takes the images as they are.
    shift = next((node.attrs for node in network.nodes if node.op == "scale_shift"), {"mean": 0.0, "scale": 1.0})
    channels, height, width = next(network.shapes[node.name] for node in network.nodes if node.op == "input")
    return {
        "preprocessing": {"mean": shift["mean"], "scale": shift["scale"], "inside_network": True},
        "input": {"channels": channels, "height": height, "width": width, "order": "RGB", "range": [0, 255]},
        "emb_size": network.embedding_size,
    }
