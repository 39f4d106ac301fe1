"""What a reader of foreign files returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backbones.graph.network_graph import NetworkGraph


@dataclass(frozen=True, eq=False)
class ForeignModel:
    """A network as some file describes it, preprocessing included, under the names of that file.

    Attributes:
        source: the file or files, for messages.
        network: the description; it can be executed as it is.
        arrays: float32 arrays, named as ``network.parameters()`` asks.
        head: what the file holds of the head: ``fc7_weight`` [classes, E] and perhaps ``fc7_bias``.
        config: settings of the training, where the file knows them.
        preprocesses: whether the file does the preprocessing itself; else a reader has added it.
        training_arrays: arrays by our names, flat, that only training uses, where the file has them.
    """

    source: str
    network: NetworkGraph
    arrays: Mapping[str, np.ndarray]
    head: dict[str, np.ndarray] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    preprocesses: bool = True
    training_arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
