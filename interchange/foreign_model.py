"""The model that a reader of another program's files returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backbones.graph.network_graph import NetworkGraph


@dataclass(frozen=True, eq=False)
class ForeignModel:
    """A network as a file of another program describes it, with preprocessing, under the names of that file.

    Attributes:
        source: the file or files, for messages.
        network: the description, ready to run.
        arrays: float32 arrays, named as ``network.parameters()`` asks.
        head: the class rows in the file: ``fc7_weight`` [classes, E] and perhaps ``fc7_bias``; empty without them.
        config: settings of the training, as far as the file holds them.
        preprocesses: whether the file contains the preprocessing; otherwise the reader has added it.
        exported_from: checksum of the snapshot that the file was exported from; empty if it does not say.
        notes: lines to print about what the reader took, assumed or left.
        training_arrays: arrays that only training uses, flat, by our names, as far as the file holds them.
    """

    source: str
    network: NetworkGraph
    arrays: Mapping[str, np.ndarray]
    head: dict[str, np.ndarray] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    preprocesses: bool = True
    exported_from: str = ""
    training_arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
