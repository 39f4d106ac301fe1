"""Reads ONNX files into a description, by what the graph computes and not by its names.

Takes the files of this project, of ``torch.onnx.export`` and of MXNet's exporter, with preprocessing inside or outside.
"""

from __future__ import annotations

import base64
import binascii
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from common.json_text import parse_json
from interchange.binary import require_file
from interchange.foreign_model import ForeignModel
from interchange.onnx.arithmetic import FOLDED, fold, folded_size
from interchange.onnx.graph_reader import GraphReader, Operation
from interchange.onnx.kept_norms import KEPT_NORMS, DamageError, unfold
from interchange.onnx.metadata import MEAN, SCALE, TRAINING_ARRAYS
from interchange.onnx.mxnet_exporter import is_of_mxnet, mend
from interchange.onnx.operators import ONNX_READERS
from interchange.onnx.outputs import settle_output

# (mean, scale) that a file without preprocessing leaves to its caller: the convention of the PyTorch family.
OUTSIDE = (127.5, 1 / 127.5)
CHANNELS_FIRST, CHANNELS_LAST = "NCHW", "NHWC"
_ANY_LAYOUT = ("Transpose", "Sub", "Mul", "Add", "Div", "Cast", "Identity")  # work on images of both layouts
QUANTISED = (  # operators of integers, by which files in int8 are known
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
)
MAX_BYTES = (1 << 31) - 1  # protobuf's own limit


def read_onnx(path: str | Path) -> ForeignModel:
    """Read a recognition model: images [N, 3, S, S] or [N, S, S, 3] in, embeddings [N, E] out, for any or one N.

    A model that neither scales nor normalizes its input gets the preprocessing of the PyTorch family, inside.

    Raises:
        UserError: the file is missing or damaged, keeps arrays in other files, or holds an unknown operator.
    """
    path = Path(path)
    model = load_model(path)
    metadata = {item.key: item.value for item in model.metadata_props}
    mend(model.graph)
    notes = settle_output(model.graph, str(path))
    read = _read_graph(str(path), model.graph, _read_outside(path, metadata))
    network, arrays = _unfold(path, read.network, read.arrays, metadata)
    return ForeignModel(
        str(path),
        network,
        arrays,
        config=_read_json(path, metadata, "config"),
        preprocesses=read.preprocesses,
        layout=read.layout,
        loose_gammas=read.gammas if is_of_mxnet(model.graph) else {},
        exported_from=metadata.get("source_sha256", ""),
        training_arrays=_read_training_arrays(path, metadata),
        notes=tuple(notes),
    )


def _read_outside(path: Path, metadata: dict[str, str]) -> tuple[float, float]:
    """Return mean and scale of the preprocessing that the file leaves to its caller, if it does: ours say them."""
    try:
        return tuple(float(metadata.get(key, default)) for key, default in zip((MEAN, SCALE), OUTSIDE, strict=True))
    except ValueError as error:
        raise UserError(f"{path}: its metadata '{MEAN}' or '{SCALE}' is not a number ({error})") from error


def _unfold(
    path: Path, network: NetworkGraph, arrays: dict[str, np.ndarray], metadata: dict[str, str]
) -> tuple[NetworkGraph, dict[str, np.ndarray]]:
    """Take BatchNorms that the metadata keep out of the layers again, unless the weights have changed since."""
    if KEPT_NORMS not in metadata:
        return network, arrays
    try:
        return unfold(network, arrays, metadata[KEPT_NORMS]) or (network, arrays)
    except DamageError as error:
        raise UserError(f"{path}: its metadata '{KEPT_NORMS}' is damaged ({error})") from error


def _read_json(path: Path, metadata: dict[str, str], key: str) -> dict[str, Any]:
    try:
        content = parse_json(metadata.get(key) or "{}")
    except ValueError as error:
        raise UserError(f"{path}: its metadata '{key}' is not JSON ({error})") from error
    return content if isinstance(content, dict) else {}


def _read_training_arrays(path: Path, metadata: dict[str, str]) -> dict[str, np.ndarray]:
    """Return flat float32 arrays by our names.

    Raises:
        UserError: the metadata does not hold base64 texts.
    """
    try:
        return {
            name: np.frombuffer(base64.b64decode(text, validate=True), "<f4").copy()
            for name, text in _read_json(path, metadata, TRAINING_ARRAYS).items()
        }
    except (TypeError, ValueError, binascii.Error) as error:
        raise UserError(f"{path}: its metadata '{TRAINING_ARRAYS}' is damaged ({error})") from error


def load_model(path: Path) -> onnx.ModelProto:
    """Return the content of a file.

    Raises:
        UserError: the file is missing, damaged or not one model in one file.
    """
    if not require_file(path, "an ONNX file"):
        raise UserError(f"{path} is empty; expected an ONNX file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than 2 GB, which no ONNX file can be")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # protobuf reports the error twice
            model = onnx.load(path, format="protobuf", load_external_data=False)
        _require_internal(path, model)
        onnx.checker.check_model(model)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected an ONNX file") from error
    except DecodeError as error:
        raise UserError(f"{path} is not an ONNX file, or damaged ({error})") from error
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path} is not a valid ONNX model: {reason}") from error
    if not model.graph.node:
        raise UserError(f"{path} is not an ONNX model: it has no nodes")
    return model


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield all tensors of a graph, also those of sparse arrays, attributes and inner graphs."""
    yield from graph.initializer
    sparse = list(graph.sparse_initializer)
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        sparse += [attribute.sparse_tensor, *attribute.sparse_tensors]
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)
    for each in sparse:
        yield from (each.values, each.indices)


def _require_internal(path: Path, model: onnx.ModelProto) -> None:
    if model.graph.sparse_initializer:
        raise UserError(f"{path}: an array is stored in sparse form, which is not read; save it in full")
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise UserError(
                f"{path}: '{tensor.name}' lies in another file; save the model as one file "
                "(torch.onnx.export does so with external_data=False)"
            )


@dataclass(frozen=True)
class _ReadGraph:
    """What a graph holds: description, arrays, whether it preprocesses, axes of its images, its names of gammas."""

    network: NetworkGraph
    arrays: dict[str, np.ndarray]
    preprocesses: bool
    layout: str
    gammas: Mapping[str, str]


def _read_graph(source: str, graph: onnx.GraphProto, outside: tuple[float, float]) -> _ReadGraph:
    """Read a graph; ``outside`` is the mean and scale of the preprocessing if it has none.

    Raises:
        UserError: the graph does not turn one image into one embedding, or holds an unknown operator.
    """
    reader = GraphReader(source, graph.initializer)
    inputs = [value for value in graph.input if value.name not in reader.constants]
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs)
        raise reader.error(f"it has {len(inputs)} inputs ({names}); expected one, the images")
    image = inputs[0].name
    layout, size = _read_input(reader, inputs[0])
    reader.build.input(image, size)
    if layout == CHANNELS_LAST:
        reader.channels_last.add(image)
    preprocesses = _preprocesses(graph, image)
    if not preprocesses:
        mean, scale = outside
        reader.build.subtract(image, "centred", mean)
        reader.build.multiply("centred", "preprocess", scale)
        reader.build.alias("preprocess", image)
    needed = _needed_nodes(graph)
    for index, node in enumerate(graph.node):
        if index in needed:
            _read_node(reader, node)
    return _ReadGraph(*reader.build.finish(), preprocesses, layout, reader.build.gammas)


def _read_input(reader: GraphReader, value: onnx.ValueInfoProto) -> tuple[str, int]:
    """Return the layout of the images and the length of their sides."""
    shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
    if len(shape) == 4 and shape[2] >= 1:
        if shape[1] == 3 and shape[2] == shape[3]:
            return CHANNELS_FIRST, shape[2]
        if shape[3] == 3 and shape[1] == shape[2]:
            return CHANNELS_LAST, shape[1]
    raise reader.error(
        f"its input {value.name} has shape {shape}; expected [N, 3, S, S] or [N, S, S, 3] with a fixed S"
    )


def _needed_nodes(graph: onnx.GraphProto) -> set[int]:
    """Return the indices of the nodes that the output depends on."""
    wanted, needed = {graph.output[0].name}, set()
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if wanted & set(node.output):
            needed.add(index)
            wanted |= set(node.input)
    return needed


def _preprocesses(graph: onnx.GraphProto, image: str) -> bool:
    """Tell whether the graph shifts, scales or normalises the image before the first layer."""
    names = {image}
    for node in graph.node:
        if names & set(node.input):
            if node.op_type in ("Sub", "Mul", "Add", "Div", "BatchNormalization"):
                return True
            if node.op_type in ("Transpose", "Cast", "Identity"):
                names |= set(node.output)
    return False


def _read_node(reader: GraphReader, node: onnx.NodeProto) -> None:
    name = node.name or node.output[0]
    if node.domain not in ("", "ai.onnx"):
        raise reader.error(f"{name} is a {node.op_type} of {node.domain}; known are ONNX's own operators")
    if node.op_type in QUANTISED:
        raise reader.error(f"it is quantised ({name} is a {node.op_type}); give the float file that it was made of")
    if node.op_type not in ONNX_READERS:
        raise reader.error(f"{name} is a {node.op_type}; known operators: {', '.join(sorted(ONNX_READERS))}")
    attrs = {attr.name: onnx.helper.get_attribute_value(attr) for attr in node.attribute}
    inputs = [reader.constants.get(each) for each in node.input]
    try:
        if node.op_type in FOLDED and all(array is not None for array in inputs):
            reader.take_room(folded_size(node.op_type, attrs, inputs))
            reader.constants[node.output[0]] = fold(node.op_type, attrs, inputs)
            return
        if reader.channels_last & set(node.input):
            if node.op_type not in _ANY_LAYOUT:
                raise reader.error(f"{name}, a {node.op_type}, takes images [N, S, S, 3]; known: a Transpose first")
            if node.op_type != "Transpose":
                reader.channels_last.add(node.output[0])
        ONNX_READERS[node.op_type](reader, Operation(list(node.input), list(node.output), attrs))
    except UserError as error:
        raise reader.build.named(error) from error.__cause__
    except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError, MemoryError) as error:
        raise reader.error(f"{name} is a {node.op_type} of a form that no known network has ({error})") from error
