"""The parts of an ONNX model while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from backbones.graph.network_graph import NetworkGraph


@dataclass
class Writer:
    """The parts of the model, which grow while the nodes of the description are written.

    Attributes:
        graph: the description.
        arrays: parameters and moving statistics by MXNet name.
        nodes: the ONNX nodes so far.
        initializers: the stored arrays so far.
        aliases: for a node that inference skips, the value that takes its place.
        half: whether weights are stored as float16.
    """

    graph: NetworkGraph
    arrays: Mapping[str, np.ndarray]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    half: bool = False

    def add_node(self, op: str, inputs: list[str], output: str, name: str = "", **attrs: object) -> None:
        """Add a node of one output, named as its output unless ``name`` is given."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=name or output, **attrs))

    def add_nodes(self, op: str, inputs: list[str], outputs: list[str], **attrs: object) -> None:
        """Add one node of several outputs."""
        self.nodes.append(helper.make_node(op, inputs, outputs, name="_and_".join(outputs), **attrs))

    def add_shape(self, name: str, shape: tuple[int, ...]) -> str:
        """Store the shape of a Reshape (0 keeps an axis, -1 is inferred) and return its name."""
        self.initializers.append(numpy_helper.from_array(np.array(shape, dtype=np.int64), name))
        return name

    def add_array(self, name: str, values: np.ndarray) -> str:
        """Store an array in float32 and return its name."""
        array = np.ascontiguousarray(values, dtype=np.float32)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def add_parameter(self, name: str, shape: tuple[int, ...] | None = None) -> str:
        """Store a parameter of the network as ``shape`` and return its name; a fixed gamma becomes ones."""
        spec = self.graph.parameters()[name]
        values = np.ones(spec.shape) if spec.fixed else np.asarray(self.arrays[name])
        values = values.reshape(shape or spec.shape)
        if not self.half or spec.kind != "weight":
            return self.add_array(name, values)
        with np.errstate(over="ignore"):  # an export ends with a check that notices it
            self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype=np.float16), name))
        self.add_node("Cast", [name], f"{name}_float32", to=TensorProto.FLOAT)
        return f"{name}_float32"
