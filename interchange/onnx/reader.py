"""ONNX files read into a description, by what the graph does and not by its names.

Knows the files of this project, of ``torch.onnx.export`` and of MXNet's exporter, with preprocessing inside or outside;
the operators are in ``interchange.onnx.operators``.
"""

from __future__ import annotations

import base64
import binascii
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from interchange.foreign_model import ForeignModel
from interchange.graph_builder import ForeignBuilder
from interchange.onnx.attention import Piece
from interchange.onnx.operators import OPERATORS, Operation, shorten

# What programs subtract and divide by where the file itself does nothing: the PyTorch family's custom.
OUTSIDE = (127.5, 1 / 127.5)
MAX_BYTES = (1 << 31) - 1  # protobuf's own limit
TRAINING_ARRAYS = "training_arrays"  # metadata of our own files: arrays that inference has no use for


def read_onnx(path: str | Path) -> ForeignModel:
    """Read a recognition model: one image [N, 3, S, S] in, one embedding [N, E] out.

    A model that neither scales nor normalises its input gets the preprocessing of the PyTorch family, inside.

    Raises:
        UserError: the file is missing, damaged, in pieces, or holds something unknown.
    """
    path = Path(path)
    model = _load(path)
    metadata = {item.key: item.value for item in model.metadata_props}
    reader = GraphReader(str(path), model.graph)
    network, arrays = reader.read()
    return ForeignModel(
        str(path),
        network,
        arrays,
        config=_read_json(path, metadata, "config"),
        preprocesses=reader.preprocesses,
        training_arrays=_read_training_arrays(path, metadata),
    )


def _read_json(path: Path, metadata: dict[str, str], key: str) -> dict[str, Any]:
    try:
        content = json.loads(metadata.get(key) or "{}")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its metadata '{key}' is no JSON ({error})") from error
    return content if isinstance(content, dict) else {}


def _read_training_arrays(path: Path, metadata: dict[str, str]) -> dict[str, np.ndarray]:
    """Return flat float32 arrays by our names."""
    try:
        return {
            name: np.frombuffer(base64.b64decode(text, validate=True), "<f4").copy()
            for name, text in _read_json(path, metadata, TRAINING_ARRAYS).items()
        }
    except (TypeError, ValueError, binascii.Error) as error:
        raise UserError(f"{path}: its metadata '{TRAINING_ARRAYS}' is damaged ({error})") from error


def _load(path: Path) -> onnx.ModelProto:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than 2 GB, which no ONNX file can be")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # protobuf says twice what is wrong
            model = onnx.load(path, format="protobuf", load_external_data=False)
        _refuse_external(path, model)
        onnx.checker.check_model(model)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected an ONNX file") from error
    except DecodeError as error:
        raise UserError(f"{path} is no ONNX file, or damaged ({error})") from error
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{path} is no valid ONNX model: {reason}") from error
    if not model.graph.node:
        raise UserError(f"{path} is no ONNX model: it has no nodes")
    return model


def _refuse_external(path: Path, model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise UserError(
                f"{path}: '{tensor.name}' lies in another file; save the model as one file "
                "(torch.onnx.export does so with external_data=False)"
            )


class GraphReader:
    """One walk over the nodes; constants are kept apart from values that depend on the image.

    Attributes:
        source: the file, for messages.
        constants: arrays by the file's names.
        build: makes the description.
        pieces: steps towards an operator of ours that the file has in several nodes, by the name of their value.
        preprocesses: whether the graph does the preprocessing itself.
    """

    def __init__(self, source: str, graph: onnx.GraphProto) -> None:
        self.source = source
        self._graph = graph
        self.constants = {tensor.name: self.to_array(tensor) for tensor in graph.initializer}
        self.build = ForeignBuilder(source, self.constants)
        self.pieces: dict[str, Piece] = {}
        self.preprocesses = True

    def refuse(self, what: str) -> UserError:
        """Return the error that names the file and ``what`` is wrong."""
        return UserError(f"{self.source}: {what}")

    def to_array(self, tensor: onnx.TensorProto) -> np.ndarray:
        """Return a stored tensor.

        Raises:
            UserError: it does not hold what it says.
        """
        if any(length < 0 for length in tensor.dims):
            raise self.refuse(f"the array '{tensor.name}' is damaged (its shape is {list(tensor.dims)})")
        try:
            return numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise self.refuse(f"the array '{tensor.name}' is damaged ({error})") from error

    def read(self) -> tuple[NetworkGraph, dict[str, np.ndarray]]:
        """Return the description and its arrays.

        Raises:
            UserError: the graph is none of an embedding, or holds something unknown.
        """
        inputs = [value for value in self._graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(self._graph.output) != 1:
            raise self.refuse(
                f"it has {len(inputs)} inputs and {len(self._graph.output)} outputs; expected one of each"
            )
        axes = inputs[0].type.tensor_type.shape.dim
        shape = [axis.dim_value for axis in axes]
        if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or shape[2] < 1:
            raise self.refuse(f"its input {inputs[0].name} has shape {shape}; expected [N, 3, S, S] with a fixed S")
        image = inputs[0].name
        self.build.input(image, shape[2])
        self.preprocesses = self._changes(image)
        if not self.preprocesses:
            mean, scale = OUTSIDE
            self.build.subtract(image, "centred", mean)
            self.build.multiply("centred", "preprocess", scale)
            self.build.alias("preprocess", image)
        needed = self._find_needed()
        for index, node in enumerate(self._graph.node):
            if index in needed:
                self._translate(node)
        return self.build.finish()

    def _find_needed(self) -> set[int]:
        """Return the numbers of the nodes that the output depends on."""
        wanted, needed = {self._graph.output[0].name}, set()
        for index in reversed(range(len(self._graph.node))):
            node = self._graph.node[index]
            if wanted & set(node.output):
                needed.add(index)
                wanted |= set(node.input)
        return needed

    def _changes(self, image: str) -> bool:
        """Tell whether the image is changed by numbers before the first layer."""
        return any(
            node.op_type in ("Sub", "Mul", "Add", "Div", "BatchNormalization")
            for node in self._graph.node
            if image in node.input
        )

    def _translate(self, node: onnx.NodeProto) -> None:
        if node.op_type not in OPERATORS:
            known = ", ".join(sorted(OPERATORS))
            raise self.refuse(f"{node.name or node.output[0]} is a {node.op_type}; known operators: {known}")
        attrs = {attr.name: onnx.helper.get_attribute_value(attr) for attr in node.attribute}
        try:
            OPERATORS[node.op_type](self, Operation(list(node.input), list(node.output), attrs))
        except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError) as error:
            name = node.name or node.output[0]
            raise self.refuse(f"{name} is a {node.op_type} of a form that no known network has ({error})") from error

    def split(self, inputs: list[str]) -> tuple[str, str | None]:
        """Return of two inputs the one that depends on the image, and the constant one, None if there is none."""
        a, b = inputs
        if b in self.constants:
            return a, b
        return (b, a) if a in self.constants else (a, None)

    def scalar(self, name: str, where: str) -> float:
        """Return the one number that a constant holds everywhere.

        Raises:
            UserError: it holds several.
        """
        values = self.constants[name].astype(np.float64).reshape(-1)
        if not values.size or np.any(values != values[0]):
            raise self.refuse(f"{where}: expected one number, found an array of shape {self.constants[name].shape}")
        return shorten(values[0])
