"""Writes a network and its weights as ONNX, from the description and without any training framework.

Node, value and initializer names are the MXNet names. The preprocessing is part of the model, so it takes plain
RGB images; dropout, which does nothing in inference, is left out.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from backbones.graph.arrays import check_arrays
from backbones.graph.network_graph import NetworkGraph, Node
from interchange.onnx.reader import TRAINING_ARRAYS
from interchange.onnx.writer_attention import TRANSFORMER_OPERATORS

OPSET = 17
IR_VERSION = 8  # what opset 17 was published with: the oldest that fits, so that older readers accept the file
BATCH = "N"
PRODUCER = "insightface-oneflow"


@dataclass
class Writer:
    """The parts of the model that grow while the description is walked."""

    graph: NetworkGraph
    arrays: Mapping[str, np.ndarray]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    half: bool = False

    def add_node(self, op: str, inputs: list[str], output: str, name: str = "", **attrs: object) -> None:
        """Add a node that is named as its output, or ``name``."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=name or output, **attrs))

    def add_nodes(self, op: str, inputs: list[str], outputs: list[str], **attrs: object) -> None:
        """Add one node of several outputs."""
        self.nodes.append(helper.make_node(op, inputs, outputs, name="_and_".join(outputs), **attrs))

    def add_shape(self, name: str, shape: tuple[int, ...]) -> str:
        """Store the shape of a Reshape: 0 keeps an axis, -1 is what is left."""
        self.initializers.append(numpy_helper.from_array(np.array(shape, dtype=np.int64), name))
        return name

    def add_array(self, name: str, values: np.ndarray) -> str:
        """Store an array in float32 and return its name."""
        array = np.ascontiguousarray(values, dtype=np.float32)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def add_parameter(self, name: str, shape: tuple[int, ...] | None = None) -> str:
        """Store a parameter of the network, viewed as ``shape``; a gamma pinned by fix_gamma is stored as ones."""
        spec = self.graph.parameters()[name]
        values = np.ones(spec.shape) if spec.fixed else np.asarray(self.arrays[name])
        values = values.reshape(shape or spec.shape)
        if not self.half or spec.kind != "weight":
            return self.add_array(name, values)
        with np.errstate(over="ignore"):  # the check that ends an export finds out
            self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype=np.float16), name))
        self.add_node("Cast", [name], f"{name}_float32", to=TensorProto.FLOAT)
        return f"{name}_float32"


def _write_scale_shift(writer: Writer, node: Node, x: str) -> None:
    mean = writer.add_array(f"{node.name}_mean", np.array(node.attrs["mean"]))
    scale = writer.add_array(f"{node.name}_scale", np.array(node.attrs["scale"]))
    # By the names of these two nodes, MXNet's, programs tell that the preprocessing is inside.
    writer.add_node("Sub", [x, mean], f"{node.name}_centered", name="_minusscalar0")
    writer.add_node("Mul", [f"{node.name}_centered", scale], node.name, name="_mulscalar0")


def _write_conv(writer: Writer, node: Node, x: str) -> None:
    attrs = node.attrs
    inputs = [x, *map(writer.add_parameter, node.arrays.values())]
    writer.add_node(
        "Conv",
        inputs,
        node.name,
        kernel_shape=[attrs["kernel"]] * 2,
        strides=[attrs["stride"]] * 2,
        pads=[attrs["pad"]] * 4,
        group=attrs["groups"],
    )


def _write_batch_norm(writer: Writer, node: Node, x: str) -> None:
    inputs = [x, *(writer.add_parameter(node.arrays[kind]) for kind in ("gamma", "beta", "moving_mean", "moving_var"))]
    writer.add_node("BatchNormalization", inputs, node.name, epsilon=node.attrs["eps"], momentum=node.attrs["momentum"])


def _write_prelu(writer: Writer, node: Node, x: str) -> None:
    channels, *rest = writer.graph.shapes[node.name]
    count = 1 if node.attrs["shared"] else channels
    slope = writer.add_parameter(node.arrays["slope"], (count, *(1 for _ in rest)))
    writer.add_node("PRelu", [x, slope], node.name)


def _write_activation(writer: Writer, node: Node, x: str) -> None:
    kind = node.attrs["kind"]
    if kind == "relu6":
        limits = [writer.add_array(f"{node.name}_{name}", np.array(value)) for name, value in (("min", 0), ("max", 6))]
        writer.add_node("Clip", [x, *limits], node.name)
    else:
        writer.add_node(ACTIVATIONS[kind], [x], node.name)


def _write_add(writer: Writer, node: Node, a: str, b: str) -> None:
    writer.add_node("Add", [a, b], node.name)


def _skip_dropout(writer: Writer, node: Node, x: str) -> None:
    writer.aliases[node.name] = x


def _write_flatten(writer: Writer, node: Node, x: str) -> None:
    writer.add_node("Flatten", [x], node.name, axis=1)


def _write_fully_connected(writer: Writer, node: Node, x: str) -> None:
    if len(writer.graph.shapes[node.name]) == 1:
        writer.add_node("Gemm", [x, *map(writer.add_parameter, node.arrays.values())], node.name, transB=1)
        return
    weight = writer.add_parameter(node.arrays["weight"])  # of tokens, which Gemm does not take
    writer.add_node("Transpose", [weight], f"{node.name}_columns", perm=[1, 0])
    product = f"{node.name}_product" if node.attrs["bias"] else node.name
    writer.add_node("MatMul", [x, f"{node.name}_columns"], product)
    if node.attrs["bias"]:
        writer.add_node("Add", [product, writer.add_parameter(node.arrays["bias"])], node.name)


def _write_scale_channels(writer: Writer, node: Node, x: str, factors: str) -> None:
    writer.add_node("Mul", [x, factors], node.name)


def _write_concat(writer: Writer, node: Node, *values: str) -> None:
    writer.add_node("Concat", list(values), node.name, axis=1)


def _write_pool(writer: Writer, node: Node, x: str) -> None:
    attrs = node.attrs
    window = {"kernel_shape": [attrs["kernel"]] * 2, "strides": [attrs["stride"]] * 2, "pads": [attrs["pad"]] * 4}
    if attrs["kind"] == "max":
        writer.add_node("MaxPool", [x], node.name, **window)
    else:
        writer.add_node("AveragePool", [x], node.name, count_include_pad=1, **window)


def _write_global_pool(writer: Writer, node: Node, x: str) -> None:
    writer.add_node("GlobalAveragePool", [x], node.name)


def _write_equalize_pixel_norms(writer: Writer, node: Node, x: str) -> None:
    # Not ReduceL2: with a Div after it OpenCV takes both for a normalisation of something else.
    writer.add_node("ReduceSumSquare", [x], f"{node.name}_sums", axes=[1])
    writer.add_node("Sqrt", [f"{node.name}_sums"], f"{node.name}_norms")
    writer.add_node("ReduceMean", [f"{node.name}_norms"], f"{node.name}_mean")
    writer.add_node("Div", [f"{node.name}_mean", f"{node.name}_norms"], f"{node.name}_factors")
    writer.add_node("Mul", [x, f"{node.name}_factors"], node.name)


ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}
OPERATORS: dict[str, Callable[..., None]] = {
    "scale_shift": _write_scale_shift,
    "conv": _write_conv,
    "batch_norm": _write_batch_norm,
    "prelu": _write_prelu,
    "activation": _write_activation,
    "add": _write_add,
    "scale_channels": _write_scale_channels,
    "concat": _write_concat,
    "pool": _write_pool,
    "global_pool": _write_global_pool,
    "equalize_pixel_norms": _write_equalize_pixel_norms,
    "dropout": _skip_dropout,
    "flatten": _write_flatten,
    "fully_connected": _write_fully_connected,
    **TRANSFORMER_OPERATORS,
}


def write_onnx(
    graph: NetworkGraph, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], half: bool = False
) -> onnx.ModelProto:
    """Return the inference model: ``data`` [N, 3, S, S] float32 RGB 0..255 -> embedding [N, E], N free.

    Args:
        graph: the network.
        arrays: every parameter and moving statistic by MXNet name, of the shapes in ``graph.parameters()``.
        metadata: key-value pairs stored in the model's ``metadata_props``. Arrays that inference has no use for are
            stored there too, so that nothing is lost.
        half: store weights as float16; they are computed with in float32 all the same.

    Raises:
        UserError: ``arrays`` does not fit ``graph``.
        onnx.checker.ValidationError: the model is not valid ONNX.
    """
    check_arrays(graph, arrays)
    writer = Writer(graph, arrays, half=half)
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
    helper.set_model_props(model, dict(metadata) | _describe_training_arrays(graph, arrays, body))
    onnx.checker.check_model(model)
    return model


def _describe_training_arrays(
    graph: NetworkGraph, arrays: Mapping[str, np.ndarray], body: onnx.GraphProto
) -> dict[str, str]:
    """Return the metadata for the parameters that no node of ``body`` needs: float32 in base64, as JSON by name."""
    stored = {tensor.name for tensor in body.initializer}
    left = {name: np.asarray(arrays[name], "<f4").tobytes() for name in graph.parameters() if name not in stored}
    texts = {name: base64.b64encode(content).decode() for name, content in left.items()}
    return {TRAINING_ARRAYS: json.dumps(texts)} if texts else {}
