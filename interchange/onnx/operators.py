"""How each operator of an ONNX file is read into a description: one small function each, in ``ONNX_READERS``.

Weights in float16 may be the input of a Cast, flattening is Flatten or Reshape, a matrix product Gemm or MatMul and
Add.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from interchange.onnx import attention
from interchange.onnx.graph_reader import GraphReader, Operation, shorten
from interchange.onnx.layer_norm import LAYER_NORM_STEPS, Step, reduced_axes
from interchange.onnx.softsign import SOFTSIGN_STEPS

OperatorReader = Callable[[GraphReader, Operation], None]


def _conv(reader: GraphReader, node: Operation) -> None:
    build, attrs = reader.build, node.attrs
    if attrs.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or set(attrs.get("dilations", [1])) != {1}:
        raise reader.error(
            f"{node.output} is a convolution with automatic padding or dilation, which no known network has"
        )
    build.conv(
        node.inputs[0],
        node.output,
        node.inputs[1],
        node.optional(2),
        stride=build.single_value(node.output, "strides", attrs.get("strides", [1, 1])),
        pad=build.single_value(node.output, "pads", attrs.get("pads", [0] * 4)),
        groups=attrs.get("group", 1),
    )


def _batch_norm(reader: GraphReader, node: Operation) -> None:
    x, *arrays = node.inputs
    if node.attrs.get("training_mode", 0):
        raise reader.error(f"{node.output} normalises by the batch: export the network in inference mode, model.eval()")
    momentum = shorten(node.attrs.get("momentum", 0.9))
    eps = shorten(node.attrs.get("epsilon", 1e-5))
    reader.build.batch_norm(x, node.output, arrays, eps=eps, momentum=momentum)


def _layer_norm(reader: GraphReader, node: Operation) -> None:
    x, gamma, *beta = node.inputs
    if node.attrs.get("axis", -1) not in (-1, 2) or not beta:
        raise reader.error(f"{node.output} normalizes axes other than the last, or has no shift")
    reader.build.layer_norm(x, node.output, gamma, beta[0], eps=shorten(node.attrs.get("epsilon", 1e-5)))


def _gemm(reader: GraphReader, node: Operation) -> None:
    attrs = node.attrs
    if attrs.get("alpha", 1.0) != 1 or attrs.get("beta", 1.0) != 1 or attrs.get("transA", 0):
        raise reader.error(f"{node.output} is a Gemm with factors, which no known network has")
    x, weight = node.inputs[:2]
    x, made = attention.tokens_of_rows(reader, x, node.output)
    reader.build.fully_connected(x, made, weight, node.optional(2), transposed=not attrs.get("transB", 0))


def _matmul(reader: GraphReader, node: Operation) -> None:
    if node.inputs[1] in reader.constants:
        reader.build.fully_connected(node.inputs[0], node.output, node.inputs[1], None, transposed=True)
    else:
        attention.multiply_pieces(reader, node)


def _add(reader: GraphReader, node: Operation) -> None:
    x, constant = reader.image_and_constant(node.inputs)
    if constant is None:
        reader.build.add(*node.inputs, node.output)
    elif reader.build.shift(x, node.output, constant):
        pass
    elif reader.constants[constant].size > 1 and len(reader.build.shape(x)) == 2:
        reader.build.position(x, node.output, constant)
    else:
        reader.build.subtract(x, node.output, -reader.scalar(constant, node.output))


def _sub(reader: GraphReader, node: Operation) -> None:
    x, constant = node.inputs
    if constant not in reader.constants:
        raise reader.error(f"{node.output} subtracts values of two layers, which no known network does")
    reader.build.subtract(x, node.output, reader.scalar(constant, node.output))


def _mul(reader: GraphReader, node: Operation) -> None:
    x, constant = reader.image_and_constant(node.inputs)
    if constant is None:
        reader.build.product(*node.inputs, node.output)
    elif x in reader.pieces:
        attention.scale_piece(reader, node, x, reader.scalar(constant, node.output))
    else:
        reader.build.multiply(x, node.output, reader.scalar(constant, node.output))


def _div(reader: GraphReader, node: Operation) -> None:
    x, divisor = node.inputs
    if divisor in reader.constants:
        reader.build.multiply(x, node.output, 1 / reader.scalar(divisor, node.output))
    else:
        reader.build.norm_step(node.output, "ratio", x, divisor)


def _reshape(reader: GraphReader, node: Operation) -> None:
    x, target = node.inputs
    shape = reader.constants.get(target)
    if shape is None:
        raise reader.error(f"{node.output} is a Reshape to a shape that is not constant")
    if attention.rows_of_tokens(reader, node, shape.tolist()):
        return
    if len(shape) == 2:
        reader.build.flatten(x, node.output)
    else:
        attention.reshape(reader, node, shape.tolist())


def _flatten(reader: GraphReader, node: Operation) -> None:
    axis = node.attrs.get("axis", 1)
    if axis not in (0, 1, -len(reader.build.shape(node.inputs[0]))):  # 0: right for one image
        raise reader.error(f"{node.output} flattens from axis {axis} on, which no known network does")
    reader.build.flatten(node.inputs[0], node.output)


def _dropout(reader: GraphReader, node: Operation) -> None:
    if (mode := node.optional(2)) is not None and np.any(reader.constants.get(mode, True)):
        raise reader.error(f"{node.output} drops values: export the network in inference mode, model.eval()")
    reader.build.dropout(node.inputs[0], node.output, node.attrs.get("ratio", 0.5))


def _transpose(reader: GraphReader, node: Operation) -> None:
    x = node.inputs[0]
    if x in reader.channels_last and list(node.attrs.get("perm", [])) == [0, 3, 1, 2]:
        reader.build.alias(x, node.output)
    else:
        attention.transpose(reader, node)


def _shape(reader: GraphReader, node: Operation) -> None:
    """Keep the shape of a value as a constant whose batch axis is 0, which in a Reshape keeps the axis."""
    shape = np.array([0, *reader.build.shape(node.inputs[0])], np.int64)
    reader.constants[node.output] = shape[node.attrs.get("start", 0) : node.attrs.get("end")]


def _alias(reader: GraphReader, node: Operation) -> None:
    x = node.inputs[0]
    if x in reader.constants:
        reader.constants[node.output] = reader.constants[x]
    else:
        reader.build.alias(x, node.output)


def _constant(reader: GraphReader, node: Operation) -> None:
    known = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    form, value = next(iter(node.attrs.items()), ("", None))
    if form == "value":
        reader.constants[node.output] = reader.to_array(value)
    elif form in known:
        reader.constants[node.output] = np.array(value, known[form])
    else:
        raise reader.error(f"the Constant {node.output} has an unknown form")


def _constants_only(reader: GraphReader, node: Operation) -> None:
    raise reader.error(f"{node.output} rearranges the value of a layer, which no known network does")


def _pool(kind: str) -> OperatorReader:
    def add(reader: GraphReader, node: Operation) -> None:
        build, attrs = reader.build, node.attrs
        pad = build.single_value(node.output, "pads", attrs.get("pads", [0] * 4))
        counted = kind == "max" or pad == 0 or attrs.get("count_include_pad", 0)
        if attrs.get("ceil_mode", 0) or not counted or attrs.get("auto_pad", b"NOTSET") != b"NOTSET":
            raise reader.error(f"{node.output} pools in a way that no known network does")
        kernel = build.single_value(node.output, "kernel_shape", attrs["kernel_shape"])
        stride = build.single_value(node.output, "strides", attrs.get("strides", [1, 1]))
        build.pool(node.inputs[0], node.output, kind, kernel, stride, pad)

    return add


def _clip(reader: GraphReader, node: Operation) -> None:
    bounds = [reader.scalar(name, node.output) for name in node.inputs[1:] if name in reader.constants]
    if (bounds or [node.attrs.get("min"), node.attrs.get("max")]) != [0, 6]:
        raise reader.error(f"{node.output} clips to other bounds than 0 and 6")
    reader.build.activation(node.inputs[0], node.output, "relu6")


def _require_axes(reader: GraphReader, node: Operation, *known: list[int]) -> None:
    found = reduced_axes(reader, node)
    if found not in known or not node.attrs.get("keepdims", 1):
        raise reader.error(f"{node.output} reduces the axes {found}, which no known network does")


def _channel_norms(what: str) -> OperatorReader:
    def start(reader: GraphReader, node: Operation) -> None:
        _require_axes(reader, node, [1])
        reader.build.start_norms(node.inputs[0], node.output, what)

    return start


def _mean(reader: GraphReader, node: Operation) -> None:
    _require_axes(reader, node, [], [0, 1, 2, 3], [1])
    # The mean of the squares of a pixel stands for their sum: the factor cancels in the ratio of two norms.
    step = "sums" if reduced_axes(reader, node) == [1] else "mean"
    reader.build.norm_step(node.output, step, node.inputs[0])


def _activation(kind: str) -> OperatorReader:
    return lambda reader, node: reader.build.activation(node.inputs[0], node.output, kind)


ONNX_READERS: dict[str, OperatorReader] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "PRelu": lambda reader, node: reader.build.prelu(node.inputs[0], node.output, node.inputs[1]),
    "Relu": _activation("relu"),
    "Sigmoid": _activation("sigmoid"),
    "Tanh": _activation("tanh"),
    "Softplus": _activation("softrelu"),
    "Softsign": _activation("softsign"),
    "Clip": _clip,
    "MaxPool": _pool("max"),
    "AveragePool": _pool("avg"),
    "GlobalAveragePool": lambda reader, node: reader.build.global_pool(node.inputs[0], node.output),
    "Concat": lambda reader, node: reader.build.concat(node.inputs, node.output),
    "ReduceL2": _channel_norms("norms"),
    "ReduceSumSquare": _channel_norms("sums"),
    "Sqrt": lambda reader, node: reader.build.norm_step(node.output, "norms", node.inputs[0]),
    "ReduceMean": _mean,
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Softmax": attention.softmax,
    "Split": attention.split_qkv,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
    **dict.fromkeys(("Unsqueeze", "Squeeze", "Gather", "Slice"), _constants_only),
    "Shape": _shape,
    "Dropout": _dropout,
    "Identity": _alias,
    "Cast": _alias,
    "Constant": _constant,
}


def _after(op: str, steps: list[Step], read: OperatorReader | None) -> OperatorReader:
    """Return a reader for nodes that one of ``steps`` takes as part of an operator, and for those of ``read``."""

    def read_either(reader: GraphReader, node: Operation) -> None:
        if any(step(reader, node) for step in steps):
            return
        if read is None:
            raise reader.error(f"{node.output} is a {op} outside of an operator that a known network has")
        read(reader, node)

    return read_either


SPREAD = (LAYER_NORM_STEPS, SOFTSIGN_STEPS)
ONNX_READERS |= {
    op: _after(op, [steps[op] for steps in SPREAD if op in steps], ONNX_READERS.get(op)) for op in set().union(*SPREAD)
}
