"""Writes a network and its weights as ONNX, from the description and without any training framework.

Node, value and initializer names are the MXNet names. Unless the form says otherwise, the preprocessing is part of the
model, so it takes plain RGB images; dropout, which inference does not use, is omitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper

from backbones.graph.arrays import check_arrays
from backbones.graph.network_graph import NetworkGraph, Node
from interchange.matching.fold_batch_norm import fold_batch_norms, foldable_norms
from interchange.onnx.form import PLAIN, ExportForm
from interchange.onnx.kept_norms import KEPT_NORMS, describe_norms
from interchange.onnx.metadata import describe_training_arrays
from interchange.onnx.model_parts import Writer
from interchange.onnx.writer_attention import TRANSFORMER_WRITERS

BATCH = "N"
PRODUCER = "insightface-oneflow"


def _write_input(writer: Writer, node: Node) -> onnx.ValueInfoProto:
    channels, height, width = writer.graph.shapes[node.name]
    axes = [channels, height, width]
    if writer.form.layout == "NHWC":
        axes = [height, width, channels]
        writer.aliases[node.name] = f"{node.name}_channels_first"
        writer.add_node("Transpose", [node.name], f"{node.name}_channels_first", perm=[0, 3, 1, 2])
    return helper.make_tensor_value_info(node.name, TensorProto.FLOAT, [writer.form.batch or BATCH, *axes])


def _write_scale_shift(writer: Writer, node: Node, x: str) -> None:
    if not writer.form.preprocess:
        writer.aliases[node.name] = x
        return
    # InsightFace's programs tell by the names _mul... and _minus... among the first nodes that the preprocessing is
    # inside. Nodes that make the constants keep that place when onnxruntime's quantiser sorts the nodes, and the Mul
    # comes first because onnxsim folds a Mul before a convolution into it.
    factor = np.float32(node.attrs["scale"])
    scale = writer.add_image_constant(f"{node.name}_factor", factor, "_mulscalar0_constant")
    offset = np.float32(node.attrs["mean"] * float(factor))
    shift = writer.add_image_constant(f"{node.name}_offset", offset, "_minusscalar0_constant")
    writer.add_node("Mul", [x, scale], f"{node.name}_scaled", name="_mulscalar0")
    writer.add_node("Sub", [f"{node.name}_scaled", shift], node.name, name="_minusscalar0")


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
    elif kind == "softsign":
        _write_softsign(writer, node.name, x)
    else:
        writer.add_node(ACTIVATIONS[kind], [x], node.name)


def _write_softsign(writer: Writer, name: str, x: str) -> None:
    # ncnn has no Softsign, and pnnx takes x / (|x| + 1) for one. onnxruntime's Softsign computes just this.
    writer.add_node("Abs", [x], f"{name}_magnitude")
    writer.add_node("Add", [f"{name}_magnitude", writer.add_number(f"{name}_one", 1, 3)], f"{name}_divisor")
    writer.add_node("Reciprocal", [f"{name}_divisor"], f"{name}_factors")
    writer.add_node("Mul", [x, f"{name}_factors"], name)


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
    _, height, width = writer.graph.shapes[x]
    # A window over the whole map: ncnn makes a GlobalAveragePool flat, and a convolution then fails on a batch.
    writer.add_node("AveragePool", [x], node.name, kernel_shape=[height, width], strides=[1, 1])


def _write_equalize_pixel_norms(writer: Writer, node: Node, x: str) -> None:
    # Not ReduceL2: OpenCV mistakes ReduceL2 followed by Div for another normalization. Not ReduceSumSquare: MNN does
    # not follow a change of the batch size. ReduceSum: ncnn is wrong. The mean in its place cancels in the ratio.
    writer.add_node("Mul", [x, x], f"{node.name}_squares")
    writer.add_reduction("ReduceMean", f"{node.name}_squares", f"{node.name}_mean_squares", [1])
    writer.add_node("Sqrt", [f"{node.name}_mean_squares"], f"{node.name}_norms")
    writer.add_node("ReduceMean", [f"{node.name}_norms"], f"{node.name}_mean")
    writer.add_node("Div", [f"{node.name}_mean", f"{node.name}_norms"], f"{node.name}_factors")
    writer.add_node("Mul", [x, f"{node.name}_factors"], node.name)


ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus"}
ONNX_WRITERS: dict[str, Callable[..., None]] = {
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
    **TRANSFORMER_WRITERS,
}


def write_onnx(
    graph: NetworkGraph, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], form: ExportForm = PLAIN
) -> onnx.ModelProto:
    """Return the inference model: ``data`` [N, 3, S, S] float32 RGB 0..255 -> embedding [N, E].

    Args:
        graph: the network.
        arrays: every parameter and moving statistic by MXNet name, of the shapes in ``graph.parameters()``.
        metadata: key-value pairs stored in the model's ``metadata_props``. Unless ``form`` says otherwise, folded
            BatchNorms and arrays that inference does not use are stored there too, so that nothing is lost.
        form: how it is written.

    Raises:
        UserError: ``arrays`` does not fit ``graph``.
        onnx.checker.ValidationError: the model is not valid ONNX.
    """
    check_arrays(graph, arrays)
    metadata = dict(metadata)
    if form.fold:
        whole, originals = graph, arrays
        graph, arrays = fold_batch_norms(whole, originals)
        if form.metadata == "full" and foldable_norms(whole):
            stored = _round(graph, arrays) if form.half else arrays
            metadata[KEPT_NORMS] = describe_norms(whole, originals, stored, exact=not form.half)
    writer = Writer(graph, arrays, form=form)
    inputs = []
    for node in graph.nodes:
        if node.op == "input":
            inputs.append(_write_input(writer, node))
        else:
            ONNX_WRITERS[node.op](writer, node, *(writer.aliases.get(name, name) for name in node.inputs))
    batch = form.batch or BATCH
    output = helper.make_tensor_value_info(graph.output, TensorProto.FLOAT, [batch, graph.embedding_size])
    body = helper.make_graph(writer.nodes, "backbone", inputs, [output], writer.initializers)
    opsets = [helper.make_opsetid("", form.opset)]
    oldest = helper.find_min_ir_version_for(opsets)  # so that older readers accept the file
    model = helper.make_model(body, opset_imports=opsets, ir_version=oldest, producer_name=PRODUCER)
    if form.metadata == "full":
        metadata |= describe_training_arrays(graph, arrays, {tensor.name for tensor in body.initializer})
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model


def _round(graph: NetworkGraph, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays as a file with weights in float16 gives them back."""
    weights = {name for name, spec in graph.parameters().items() if spec.kind == "weight"}
    with np.errstate(over="ignore"):
        return {name: a.astype(np.float16).astype(np.float32) if name in weights else a for name, a in arrays.items()}
