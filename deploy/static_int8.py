"""Static int8 quantisation for onnxruntime, by the recipe that is faster than float and keeps its accuracy.

BatchNorms are folded first; weights are signed and scaled per output channel; activations are unsigned, for which
onnxruntime has fast depthwise kernels on x86; the last fully connected layer and the preprocessing stay in float. The
two nodes of the preprocessing come first in the file, where the insightface package looks for them.

A BatchNorm that cannot be folded, because padding comes between it and the next convolution, becomes a depthwise
convolution of one pixel: onnxruntime computes that in int8, and a BatchNorm in float between two conversions.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

CALIBRATION_BATCH = 8


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Suppress advice that onnxruntime's quantiser logs on the root logger, and which is followed already."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(level)


def quantize_static_int8(source: Path, target: Path, images: np.ndarray, with_last_layer: bool = False) -> None:
    """Quantise an ONNX file.

    Args:
        source: float32 model that takes images [N, 3, S, S], RGB 0..255.
        target: the file to write.
        images: faces to find the ranges of the activations with, uint8 [N, 3, S, S].
        with_last_layer: quantise the last fully connected layer too.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        """Hands the images over in batches."""

        def __init__(self, name: str) -> None:
            self.batches = iter(np.array_split(images, -(-len(images) // CALIBRATION_BATCH)))
            self.name = name

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {self.name: batch.astype(np.float32)}

    with tempfile.TemporaryDirectory() as folder, _quietly():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared))
        model = onnx.load(prepared)
        norms_to_convolutions(model.graph)
        onnx.save(model, prepared)
        graph = model.graph
        in_float = preprocessing_nodes(graph) + ([] if with_last_layer else last_layer(graph))
        quantize_static(
            str(prepared),
            str(target),
            Reader(graph.input[0].name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[node.name for node in in_float],
        )
    model = onnx.load(target)
    put_first(model.graph, preprocessing_nodes(model.graph))
    onnx.checker.check_model(model)
    onnx.save(model, target)


def norms_to_convolutions(graph: onnx.GraphProto) -> None:
    """Replace each BatchNorm of a map [N, C, H, W] by the depthwise convolution of one pixel that computes the same."""
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    maps = {value.name for value in graph.value_info if len(value.type.tensor_type.shape.dim) == 4}
    for node in graph.node:
        x, *parts = node.input
        if node.op_type != "BatchNormalization" or x not in maps:
            continue
        gamma, beta, mean, variance = (numpy_helper.to_array(arrays[name]).astype(np.float64) for name in parts)
        eps = next((attr.f for attr in node.attribute if attr.name == "epsilon"), 1e-5)
        rates = gamma / np.sqrt(variance + eps)
        made, count = node.output[0], len(rates)
        for name, array in ((f"{made}_rates", rates.reshape(-1, 1, 1, 1)), (f"{made}_shifts", beta - mean * rates)):
            graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
        inputs = [x, f"{made}_rates", f"{made}_shifts"]
        node.CopyFrom(helper.make_node("Conv", inputs, [made], name=node.name, kernel_shape=[1, 1], group=count))
    used = {name for node in graph.node for name in node.input}
    kept = [onnx.TensorProto.FromString(each.SerializeToString()) for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def preprocessing_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the Mul and Sub nodes with a constant that follow the input, in their order."""
    constants = {tensor.name for tensor in graph.initializer}
    value, found = graph.input[0].name, []
    while True:
        users = [node for node in graph.node if value in node.input]
        if len(users) != 1 or users[0].op_type not in ("Mul", "Sub") or not constants & set(users[0].input):
            return found
        found.append(users[0])
        value = users[0].output[0]


def last_layer(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the last fully connected layer and what follows it; empty if the network does not end in one."""
    value, found = graph.output[0].name, []
    makers = {node.output[0]: node for node in graph.node}
    while value in makers:
        node = makers[value]
        found.append(node)
        if node.op_type in ("Gemm", "MatMul"):
            return found
        if node.op_type not in ("BatchNormalization", "Add", "Flatten"):
            return []
        value = node.input[0]
    return []


def put_first(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Move nodes, which need nothing of others, to the front of the list of nodes."""
    names = {node.name for node in nodes}
    order = [*nodes, *(node for node in graph.node if node.name not in names)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in order]
    del graph.node[:]
    graph.node.extend(copies)
