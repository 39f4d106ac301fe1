"""ONNX files read into a description, by what the graph does and not by its names.

Knows the files of this project, of ``torch.onnx.export`` and of MXNet's exporter: preprocessing inside or outside,
weights in float16 behind a Cast, flattening as Flatten or Reshape, matrix products as Gemm or MatMul and Add.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from backbones.graph import NetworkGraph
from common.errors import UserError
from interchange.builder import ForeignBuilder
from interchange.model import ForeignModel

# What programs subtract and divide by where the file itself does nothing: the PyTorch family's custom.
OUTSIDE = (127.5, 1 / 127.5)
MAX_BYTES = (1 << 31) - 1  # protobuf's own limit


def read_onnx(path: str | Path) -> ForeignModel:
    """Read a recognition model: one image [N, 3, S, S] in, one embedding [N, E] out.

    A model that neither scales nor normalises its input gets the preprocessing of the PyTorch family, inside.

    Raises:
        UserError: the file is missing, damaged, in pieces, or holds something unknown.
    """
    path = Path(path)
    model = _load(path)
    config = {item.key: item.value for item in model.metadata_props}.get("config")
    reader = _Reader(str(path), model.graph)
    network, arrays = reader.read()
    try:
        settings = json.loads(config) if config else {}
    except ValueError as error:
        raise UserError(f"{path}: its metadata 'config' is no JSON ({error})") from error
    return ForeignModel(str(path), network, arrays, config=settings, preprocesses=reader.preprocesses)


def _load(path: Path) -> onnx.ModelProto:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than 2 GB, which no ONNX file can be")
        model = onnx.load(path, load_external_data=False)
        onnx.checker.check_model(model)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected an ONNX file") from error
    except DecodeError as error:
        raise UserError(f"{path} is no ONNX file, or damaged ({error})") from error
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{path} is no valid ONNX model: {reason}") from error
    if not model.graph.node:
        raise UserError(f"{path} is no ONNX model: it has no nodes")
    return model


class _Reader:
    """One walk over the nodes; constants are kept apart from values that depend on the image."""

    def __init__(self, source: str, graph: onnx.GraphProto) -> None:
        self.source = source
        self._graph = graph
        self.constants = {tensor.name: self._to_array(tensor) for tensor in graph.initializer}
        self.build = ForeignBuilder(source, self.constants)
        self.preprocesses = True

    def refuse(self, what: str) -> UserError:
        return UserError(f"{self.source}: {what}")

    def _to_array(self, tensor: onnx.TensorProto) -> np.ndarray:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise self.refuse(f"'{tensor.name}' lies in another file; save the model as one file")
        try:
            return numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise self.refuse(f"the array '{tensor.name}' is damaged ({error})") from error

    def read(self) -> tuple[NetworkGraph, dict[str, np.ndarray]]:
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
        return any(node.op_type in ("Sub", "Mul", "Add", "Div", "BatchNormalization")
                   for node in self._graph.node if image in node.input)  # fmt: skip

    def _translate(self, node: onnx.NodeProto) -> None:
        if node.op_type not in OPERATORS:
            known = ", ".join(sorted(OPERATORS))
            raise self.refuse(f"{node.name or node.output[0]} is a {node.op_type}; known operators: {known}")
        attrs = {attr.name: onnx.helper.get_attribute_value(attr) for attr in node.attribute}
        OPERATORS[node.op_type](self, list(node.input), node.output[0], attrs)

    def split(self, inputs: list[str]) -> tuple[str, str | None]:
        """Return of two inputs the one that depends on the image, and the constant one, None if there is none."""
        a, b = inputs
        if b in self.constants:
            return a, b
        return (b, a) if a in self.constants else (a, None)

    def scalar(self, name: str, where: str) -> float:
        """Return the one number that a constant holds everywhere."""
        values = self.constants[name].astype(np.float64).reshape(-1)
        if not values.size or np.any(values != values[0]):
            raise self.refuse(f"{where}: expected one number, found an array of shape {self.constants[name].shape}")
        # A number that was rounded to float32 stands for the short decimal it came from.
        return float(str(np.float32(values[0])))

    def bias(self, inputs: list[str], index: int) -> str | None:
        """Return the optional input ``index``."""
        return inputs[index] if len(inputs) > index and inputs[index] else None


Attrs = dict[str, Any]


def _conv(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    build = reader.build
    if attrs.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or set(attrs.get("dilations", [1])) != {1}:
        raise reader.refuse(f"{output} is a convolution with automatic padding or dilation, which no known network has")
    build.conv(
        inputs[0], output, inputs[1], reader.bias(inputs, 2),
        stride=build.same(output, "strides", attrs.get("strides", [1, 1])),
        pad=build.same(output, "pads", attrs.get("pads", [0] * 4)),
        groups=attrs.get("group", 1),
    )  # fmt: skip


def _batch_norm(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    x, *arrays = inputs
    momentum = _short(attrs.get("momentum", 0.9))
    reader.build.batch_norm(x, output, arrays, eps=_short(attrs.get("epsilon", 1e-5)), momentum=momentum)


def _short(value: float) -> float:
    """Return the short decimal that was rounded to float32: 2e-5, not 1.9999999494757503e-05."""
    return float(str(np.float32(value)))


def _gemm(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    if attrs.get("alpha", 1.0) != 1 or attrs.get("beta", 1.0) != 1 or attrs.get("transA", 0):
        raise reader.refuse(f"{output} is a Gemm with factors, which no known network has")
    build, transposed = reader.build, not attrs.get("transB", 0)
    build.fully_connected(inputs[0], output, inputs[1], reader.bias(inputs, 2), transposed)


def _matmul(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    reader.build.fully_connected(inputs[0], output, inputs[1], None, transposed=True)


def _add(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    x, constant = reader.split(inputs)
    if constant is None:
        reader.build.add(*inputs, output)
    elif not reader.build.shift(x, output, constant):
        reader.build.subtract(x, output, -reader.scalar(constant, output))


def _sub(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    if inputs[1] not in reader.constants:
        raise reader.refuse(f"{output} subtracts values of two layers, which no known network does")
    reader.build.subtract(inputs[0], output, reader.scalar(inputs[1], output))


def _mul(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    x, constant = reader.split(inputs)
    if constant is None:
        reader.build.product(*inputs, output)
    else:
        reader.build.multiply(x, output, reader.scalar(constant, output))


def _div(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    if inputs[1] not in reader.constants:
        reader.build.norm_step(output, "ratio", *inputs)
        return
    reader.build.multiply(inputs[0], output, 1 / reader.scalar(inputs[1], output))


def _reshape(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    shape = reader.constants.get(inputs[1])
    if shape is None or len(shape) != 2:
        raise reader.refuse(f"{output} is a Reshape that is no flattening")
    reader.build.flatten(inputs[0], output)


def _cast(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    if inputs[0] in reader.constants:
        reader.constants[output] = reader.constants[inputs[0]]
    else:
        reader.build.alias(inputs[0], output)


def _constant(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    if "value" not in attrs:
        raise reader.refuse(f"the Constant {output} is of an unknown form")
    reader.constants[output] = reader._to_array(attrs["value"])


def _unsqueeze(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    if inputs[0] not in reader.constants:
        raise reader.refuse(f"{output} adds axes to the value of a layer, which no known network does")
    axes = attrs.get("axes", reader.constants[inputs[1]].tolist() if len(inputs) > 1 else [])
    reader.constants[output] = np.expand_dims(reader.constants[inputs[0]], tuple(axes))


def _pool(kind: str) -> Callable[[_Reader, list[str], str, Attrs], None]:
    def add(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
        build = reader.build
        pad = build.same(output, "pads", attrs.get("pads", [0] * 4))
        counted = kind == "max" or pad == 0 or attrs.get("count_include_pad", 0)
        if attrs.get("ceil_mode", 0) or not counted or attrs.get("auto_pad", b"NOTSET") != b"NOTSET":
            raise reader.refuse(f"{output} pools in a way that no known network does")
        kernel = build.same(output, "kernel_shape", attrs["kernel_shape"])
        build.pool(inputs[0], output, kind, kernel, build.same(output, "strides", attrs.get("strides", [1, 1])), pad)

    return add


def _clip(reader: _Reader, inputs: list[str], output: str, attrs: Attrs) -> None:
    bounds = [reader.scalar(name, output) for name in inputs[1:] if name in reader.constants]
    if (bounds or [attrs.get("min"), attrs.get("max")]) != [0, 6]:
        raise reader.refuse(f"{output} clips to other bounds than 0 and 6")
    reader.build.activation(inputs[0], output, "relu6")


def _activation(kind: str) -> Callable[[_Reader, list[str], str, Attrs], None]:
    return lambda reader, inputs, output, attrs: reader.build.activation(inputs[0], output, kind)


OPERATORS: dict[str, Callable[[_Reader, list[str], str, Attrs], None]] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "PRelu": lambda reader, inputs, output, attrs: reader.build.prelu(inputs[0], output, inputs[1]),
    "Relu": _activation("relu"),
    "Sigmoid": _activation("sigmoid"),
    "Tanh": _activation("tanh"),
    "Softplus": _activation("softrelu"),
    "Softsign": _activation("softsign"),
    "Clip": _clip,
    "MaxPool": _pool("max"),
    "AveragePool": _pool("avg"),
    "GlobalAveragePool": lambda reader, inputs, output, attrs: reader.build.global_pool(inputs[0], output),
    "Concat": lambda reader, inputs, output, attrs: reader.build.concat(inputs, output),
    "ReduceL2": lambda reader, inputs, output, attrs: reader.build.start_norms(inputs[0], output),
    "ReduceMean": lambda reader, inputs, output, attrs: reader.build.norm_step(output, "mean", inputs[0]),
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Flatten": lambda reader, inputs, output, attrs: reader.build.flatten(inputs[0], output),
    "Reshape": _reshape,
    "Unsqueeze": _unsqueeze,
    "Dropout": lambda reader, inputs, output, attrs: reader.build.dropout(inputs[0], output, attrs.get("ratio", 0.5)),
    "Identity": _cast,
    "Cast": _cast,
    "Constant": _constant,
}
