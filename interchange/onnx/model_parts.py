"""The parts of an ONNX model while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from backbones.graph.network_graph import NetworkGraph
from interchange.onnx.form import PLAIN, ExportForm

# The first opset in which ...
_SPLIT_SIZES_ARE_INPUTS = 13
_REDUCED_AXES_ARE_INPUTS = 18


@dataclass
class Writer:
    """The parts of the model, which grow while the nodes of the description are written.

    Attributes:
        graph: the description.
        arrays: parameters and moving statistics by MXNet name.
        nodes: the ONNX nodes so far.
        initializers: the stored arrays so far.
        aliases: for a node that inference skips, the value that takes its place.
        form: how the network is written.
    """

    graph: NetworkGraph
    arrays: Mapping[str, np.ndarray]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    form: ExportForm = PLAIN

    def add_node(self, op: str, inputs: list[str], output: str, name: str = "", **attrs: object) -> None:
        """Add a node of one output, named as its output unless ``name`` is given."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=name or output, **attrs))

    def add_nodes(self, op: str, inputs: list[str], outputs: list[str], **attrs: object) -> None:
        """Add one node of several outputs."""
        self.nodes.append(helper.make_node(op, inputs, outputs, name="_and_".join(outputs), **attrs))

    def add_reduction(self, op: str, x: str, output: str, axes: list[int]) -> None:
        """Add a node that reduces ``axes`` and keeps them with length 1."""
        if self.form.opset < _REDUCED_AXES_ARE_INPUTS:
            self.add_node(op, [x], output, axes=axes)
        else:
            self.add_node(op, [x, self.add_shape(f"{output}_axes", tuple(axes))], output)

    def add_split(self, x: str, outputs: list[str], sizes: tuple[int, ...], name: str) -> None:
        """Add a Split of the last axis of tokens; ``name`` is that of the constant."""
        # With sizes, because ncnn does not run a Split that leaves them to be inferred.
        if self.form.opset < _SPLIT_SIZES_ARE_INPUTS:
            self.add_nodes("Split", [x], outputs, axis=2, split=list(sizes))
        else:
            self.add_nodes("Split", [x, self.add_shape(name, sizes)], outputs, axis=2)

    def add_shape(self, name: str, shape: tuple[int, ...]) -> str:
        """Store whole numbers, such as the shape of a Reshape (0 keeps an axis, -1 is inferred); return the name."""
        self.initializers.append(numpy_helper.from_array(np.array(shape, dtype=np.int64), name))
        return name

    def add_array(self, name: str, values: np.ndarray) -> str:
        """Store an array in float32 and return its name."""
        array = np.ascontiguousarray(values, dtype=np.float32)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def add_number(self, name: str, value: float, axes: int) -> str:
        """Store a number with ``axes`` axes of length 1 and return its name.

        OpenCV 4.11 does not load a file in which onnxruntime has quantised a number with fewer than two axes.
        """
        return self.add_array(name, np.full((1,) * axes, value))

    def add_image_constant(self, name: str, value: np.float32, node: str) -> str:
        """Add a number that the node ``node`` makes, with axes as in ``add_number``, and return its name."""
        array = np.full((1, 1, 1), value, np.float32)
        self.add_node("Constant", [], name, name=node, value=numpy_helper.from_array(array))
        return name

    def add_parameter(self, name: str, shape: tuple[int, ...] | None = None) -> str:
        """Store a parameter of the network as ``shape`` and return its name; a fixed gamma becomes ones."""
        spec = self.graph.parameters()[name]
        values = np.ones(spec.shape) if spec.fixed else np.asarray(self.arrays[name])
        values = values.reshape(shape or spec.shape)
        if not self.form.half or spec.kind != "weight":
            return self.add_array(name, values)
        with np.errstate(over="ignore"):  # an export ends with a check that notices it
            self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype=np.float16), name))
        self.add_node("Cast", [name], f"{name}_float32", to=TensorProto.FLOAT)
        return f"{name}_float32"
