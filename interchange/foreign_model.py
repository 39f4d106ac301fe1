"""The model that a reader of another program's files returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
        loss_state: moving values of the loss, by the names of ``ops.losses``, as far as the file holds them.
        preprocesses: whether the file contains the preprocessing; otherwise the reader has added it.
        exported_from: checksum of the snapshot that the file was exported from; empty if it does not say.
        notes: lines to print about what the reader took, assumed or left.
        training_arrays: arrays that only training uses, flat, by our names, as far as the file holds them.
        layout: the axes of the images that the file takes, NCHW or NHWC; ``network`` takes NCHW.
        color_order: order of the channels that the file takes, rgb or bgr; ``network`` takes RGB (``image_input``).
        loose_gammas: BatchNorms' gammas that the trainer may have replaced by 1 without the file saying so: their names
            in the file by ours. Empty for all programs but MXNet's exporter (``onnx.mxnet_exporter``).
        ones: those that are taken as 1, by the names in the file.
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
    loss_state: Mapping[str, float] = field(default_factory=dict)
    layout: str = "NCHW"
    color_order: str = "rgb"
    loose_gammas: Mapping[str, str] = field(default_factory=dict)
    ones: frozenset[str] = frozenset()

    def replaced(self, **changes: Any) -> ForeignModel:
        """Return the model with other attributes."""
        return replace(self, **changes)

    def with_notes(self, *notes: str) -> ForeignModel:
        """Return the model with more notes."""
        return replace(self, notes=(*self.notes, *notes))
