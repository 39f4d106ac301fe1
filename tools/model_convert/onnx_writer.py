"""Writes a network and its weights as ONNX, from the description and without any training framework.

Node, value and initializer names are the MXNet names. The preprocessing is part of the model, so it takes plain
RGB images; dropout, which does nothing in inference, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from backbones.arrays import check_arrays
from backbones.graph import NetworkGraph, Node

OPSET = 17
IR_VERSION = 8  # what opset 17 was published with: the oldest that fits, so that older readers accept the file
BATCH = "N"
PRODUCER = "insightface-oneflow"


@dataclass
class _Writer:
    """The parts of the model that grow while the description is walked."""

    graph: NetworkGraph
    arrays: Mapping[str, np.ndarray]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)

    def add_node(self, op: str, inputs: list[str], output: str, **attrs: object) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attrs))

    def add_array(self, name: str, values: np.ndarray) -> str:
        array = np.ascontiguousarray(values, dtype=np.float32)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def add_parameter(self, name: str, shape: tuple[int, ...] | None = None) -> str:
        """Store a parameter of the network, viewed as ``shape``; a gamma pinned by fix_gamma is stored as ones."""
        spec = self.graph.parameters()[name]
        values = np.ones(spec.shape) if spec.fixed else np.asarray(self.arrays[name])
        return self.add_array(name, values.reshape(shape or spec.shape))


def _write_scale_shift(writer: _Writer, node: Node, x: str) -> None:
    mean = writer.add_array(f"{node.name}_mean", np.array(node.attrs["mean"]))
    scale = writer.add_array(f"{node.name}_scale", np.array(node.attrs["scale"]))
    writer.add_node("Sub", [x, mean], f"{node.name}_centered")
    writer.add_node("Mul", [f"{node.name}_centered", scale], node.name)


def _write_conv(writer: _Writer, node: Node, x: str) -> None:
    attrs = node.attrs
    inputs = [x, writer.add_parameter(f"{node.name}_weight")]
    if attrs["bias"]:
        inputs.append(writer.add_parameter(f"{node.name}_bias"))
    writer.add_node(
        "Conv",
        inputs,
        node.name,
        kernel_shape=[attrs["kernel"]] * 2,
        strides=[attrs["stride"]] * 2,
        pads=[attrs["pad"]] * 4,
        group=attrs["groups"],
    )


def _write_batch_norm(writer: _Writer, node: Node, x: str) -> None:
    suffixes = ("gamma", "beta", "moving_mean", "moving_var")
    inputs = [x, *(writer.add_parameter(f"{node.name}_{suffix}") for suffix in suffixes)]
    writer.add_node("BatchNormalization", inputs, node.name, epsilon=node.attrs["eps"], momentum=node.attrs["momentum"])


def _write_prelu(writer: _Writer, node: Node, x: str) -> None:
    channels, *rest = writer.graph.shapes[node.name]
    slope = writer.add_parameter(f"{node.name}_gamma", (channels, *(1 for _ in rest)))
    writer.add_node("PRelu", [x, slope], node.name)


def _write_activation(writer: _Writer, node: Node, x: str) -> None:
    writer.add_node(ACTIVATIONS[node.attrs["kind"]], [x], node.name)


def _write_add(writer: _Writer, node: Node, a: str, b: str) -> None:
    writer.add_node("Add", [a, b], node.name)


def _skip_dropout(writer: _Writer, node: Node, x: str) -> None:
    writer.aliases[node.name] = x


def _write_flatten(writer: _Writer, node: Node, x: str) -> None:
    writer.add_node("Flatten", [x], node.name, axis=1)


def _write_fully_connected(writer: _Writer, node: Node, x: str) -> None:
    weight, bias = writer.add_parameter(f"{node.name}_weight"), writer.add_parameter(f"{node.name}_bias")
    writer.add_node("Gemm", [x, weight, bias], node.name, transB=1)


ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
OPERATORS: dict[str, Callable[..., None]] = {
    "scale_shift": _write_scale_shift,
    "conv": _write_conv,
    "batch_norm": _write_batch_norm,
    "prelu": _write_prelu,
    "activation": _write_activation,
    "add": _write_add,
    "dropout": _skip_dropout,
    "flatten": _write_flatten,
    "fully_connected": _write_fully_connected,
}


def write_onnx(graph: NetworkGraph, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> onnx.ModelProto:
    """Return the inference model: ``data`` [N, 3, S, S] float32 RGB 0..255 -> embedding [N, E], N free.

    Args:
        graph: the network.
        arrays: every parameter and moving statistic by MXNet name, of the shapes in ``graph.parameters()``.
        metadata: key-value pairs stored in the model's ``metadata_props``.

    Raises:
        UserError: ``arrays`` does not fit ``graph``.
        onnx.checker.ValidationError: the model is not valid ONNX.
    """
    check_arrays(graph, arrays)
    writer = _Writer(graph, arrays)
    inputs = []
    for node in graph.nodes:
        if node.op == "input":
            inputs.append(
                helper.make_tensor_value_info(node.name, TensorProto.FLOAT, [BATCH, *graph.shapes[node.name]])
            )
        else:
            OPERATORS[node.op](writer, node, *(writer.aliases.get(name, name) for name in node.inputs))
    output = helper.make_tensor_value_info(graph.output, TensorProto.FLOAT, [BATCH, graph.embedding_size])
    body = helper.make_graph(writer.nodes, "backbone", inputs, [output], writer.initializers)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION, producer_name=PRODUCER)
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    return model
