"""The operators of ONNX on NumPy arrays, one small function each, in ``OPERATORS``.

``fold`` computes those of constants while a file is read; ``evaluate`` runs a whole graph in float64, where no other
program does: it is the reference for files that onnxruntime refuses.

Two forms that no ONNX runtime takes mean what their writers meant: a PReLU with slopes [C], as MXNet's exporter writes
it, has one per channel; ``spatial=0`` of a BatchNormalization with arrays [C] is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import numpy_helper

from common.errors import UserError

Array = np.ndarray
Attributes = Mapping[str, Any]
Operator = Callable[..., "Array | list[Array]"]

_CONSTANTS_ONLY = (
    "Shape",
    "Gather",
    "Slice",
    "Concat",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Add",
    "Sub",
    "Mul",
    "Div",
)
FOLDED = frozenset((*_CONSTANTS_ONLY, "Reshape"))


def fold(op: str, attrs: Attributes, inputs: Sequence[Array]) -> Array:
    """Return the value of an operator of ``FOLDED`` on constants, in their types.

    See ``folded_size`` for the memory that this takes.
    """
    return OPERATORS[op](attrs, *inputs)


def folded_size(op: str, attrs: Attributes, inputs: Sequence[Array]) -> int:
    """Return how many numbers ``fold`` allocates; the results of operators that only move axes are views.

    Raises:
        ValueError: the shapes do not fit.
    """
    if op in ("Add", "Sub", "Mul", "Div"):
        return prod(np.broadcast_shapes(*(array.shape for array in inputs)))
    if op == "Gather":
        array, places = inputs
        return array.size // max(1, array.shape[attrs.get("axis", 0)]) * places.size
    return sum(array.size for array in inputs) if op == "Concat" else 0


def evaluate(model: onnx.ModelProto, images: Array) -> Array:
    """Run a graph of one input and one output in float64.

    Args:
        model: the model.
        images: what its input takes, of its shape, in any type.

    Raises:
        UserError: the graph has an operator that is unknown here, or shapes that do not fit.
    """
    graph = model.graph
    values = {tensor.name: _widen(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    image = next(value.name for value in graph.input if value.name not in values)
    values[image] = images.astype(np.float64)
    left = {name: sum(name in node.input for node in graph.node) for node in graph.node for name in node.output}
    for node in graph.node:
        attrs = {attr.name: onnx.helper.get_attribute_value(attr) for attr in node.attribute}
        if node.op_type not in OPERATORS:
            raise UserError(f"{node.name or node.output[0]} is a {node.op_type}, which is unknown here")
        try:
            result = OPERATORS[node.op_type](attrs, *(values[name] if name else None for name in node.input))
        except (ValueError, KeyError, IndexError, TypeError, ArithmeticError, MemoryError) as error:
            raise UserError(f"{node.name or node.output[0]}, a {node.op_type}, cannot be computed: {error}") from error
        results = result if isinstance(result, list) else [result]
        values |= {name: _widen(value) for name, value in zip(node.output, results, strict=False)}
        for name in set(node.input) & set(left):
            left[name] -= 1
            if not left[name] and name != graph.output[0].name:
                del values[name]  # feature maps of deep networks would not fit the memory
    return values[graph.output[0].name]


def _widen(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _conv(attrs: Attributes, x: Array, weight: Array, bias: Array | None = None) -> Array:
    groups, (filters, width, kernel_h, kernel_w) = attrs.get("group", 1), weight.shape
    (down, right), (step_h, step_w) = attrs.get("strides", (1, 1)), attrs.get("dilations", (1, 1))
    x = _pad(x, attrs)
    height = (x.shape[2] - step_h * (kernel_h - 1) - 1) // down + 1
    breadth = (x.shape[3] - step_w * (kernel_w - 1) - 1) // right + 1
    weight = weight.reshape(groups, filters // groups, width, kernel_h, kernel_w)
    result = np.zeros((len(x), groups, filters // groups, height * breadth))
    for i in range(kernel_h):
        for j in range(kernel_w):
            top, left = i * step_h, j * step_w
            part = x[:, :, top : top + (height - 1) * down + 1 : down, left : left + (breadth - 1) * right + 1 : right]
            result += weight[..., i, j] @ part.reshape(len(x), groups, width, height * breadth)
    result = result.reshape(len(x), filters, height, breadth)
    return result if bias is None else result + bias.reshape(-1, 1, 1)


def _pad(x: Array, attrs: Attributes, value: float = 0.0) -> Array:
    top, left, bottom, right = attrs.get("pads", (0, 0, 0, 0))
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


def _channels(array: Array, x: Array) -> Array:
    """Return an array [C] so that it meets the channels of ``x``."""
    return array.reshape(-1, *(1,) * (x.ndim - 2))


def _batch_norm(attrs: Attributes, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array) -> Array:
    rate = gamma / np.sqrt(variance + attrs.get("epsilon", 1e-5))
    return (x - _channels(mean, x)) * _channels(rate, x) + _channels(beta, x)


def _layer_norm(attrs: Attributes, x: Array, gamma: Array, beta: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    variance = np.square(centred).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + attrs.get("epsilon", 1e-5)) * gamma + beta


def _prelu(attrs: Attributes, x: Array, slope: Array) -> Array:
    if slope.ndim == 1 and slope.size == x.shape[1]:
        slope = _channels(slope, x)
    return np.where(x < 0, x * slope, x)


def _clip(attrs: Attributes, x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    low, high = (attrs.get(key) if bound is None else bound for key, bound in (("min", low), ("max", high)))
    return np.clip(x, low, high)


def _pool(attrs: Attributes, x: Array, reduce: Callable[..., Array], value: float) -> Array:
    windows = sliding_window_view(_pad(x, attrs, value), attrs["kernel_shape"], axis=(2, 3))
    down, right = attrs.get("strides", (1, 1))
    return reduce(windows[:, :, ::down, ::right], axis=(-2, -1))


def _gemm(attrs: Attributes, a: Array, b: Array, c: Array | None = None) -> Array:
    a, b = (m.T if attrs.get(key) else m for m, key in ((a, "transA"), (b, "transB")))
    product = attrs.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + attrs.get("beta", 1.0) * c


def _softmax(attrs: Attributes, x: Array) -> Array:
    axis = attrs.get("axis", -1)
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _reshape(attrs: Attributes, x: Array, shape: Array) -> Array:
    return x.reshape([x.shape[i] if length == 0 else int(length) for i, length in enumerate(shape)])


def _flatten(attrs: Attributes, x: Array) -> Array:
    return x.reshape(prod(x.shape[: attrs.get("axis", 1)]), -1)


def _split(attrs: Attributes, x: Array, sizes: Array | None = None) -> list[Array]:
    sizes = attrs.get("split") if sizes is None else sizes
    axis = attrs.get("axis", 0)
    return np.split(x, 3 if sizes is None else np.cumsum(sizes)[:-1], axis)  # without sizes: of an attention


def _axes(attrs: Attributes, axes: Array | None) -> tuple[int, ...] | None:
    """Return the axes of a node, which are an attribute or, of newer files, an input."""
    found = attrs.get("axes") if axes is None else axes.reshape(-1)
    return None if found is None else tuple(int(axis) for axis in found)


def _reduce(function: Callable[..., Array]) -> Operator:
    def reduce(attrs: Attributes, x: Array, axes: Array | None = None) -> Array:
        return function(x, axis=_axes(attrs, axes), keepdims=bool(attrs.get("keepdims", 1)))

    return reduce


def _shape(attrs: Attributes, x: Array) -> Array:
    return np.array(x.shape[attrs.get("start", 0) : attrs.get("end")], np.int64)


def _slice(
    attrs: Attributes, x: Array, starts: Array | None = None, ends: Array | None = None, *more: Array | None
) -> Array:
    starts, ends = (attrs[key] if given is None else given for key, given in (("starts", starts), ("ends", ends)))
    axes, steps = (*more, None, None)[:2]
    axes = attrs.get("axes", range(len(starts))) if axes is None else axes
    cut = [slice(None)] * x.ndim
    for place, axis in enumerate(axes):
        cut[int(axis)] = slice(int(starts[place]), int(ends[place]), 1 if steps is None else int(steps[place]))
    return x[tuple(cut)]


def _elementwise(function: Callable[..., Array]) -> Operator:
    return lambda attrs, *x: function(*x)


def _divide(a: Array, b: Array) -> Array:
    return a // b if a.dtype.kind in "iu" else a / b


def _constant(attrs: Attributes) -> Array:
    (form, value), *_ = attrs.items()
    return numpy_helper.to_array(value) if form == "value" else np.array(value)


OPERATORS: dict[str, Operator] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "PRelu": _prelu,
    "Relu": _elementwise(lambda x: np.maximum(x, 0)),
    "Sigmoid": _elementwise(lambda x: 1 / (1 + np.exp(-x))),
    "Tanh": _elementwise(np.tanh),
    "Softplus": _elementwise(lambda x: np.logaddexp(0, x)),
    "Softsign": _elementwise(lambda x: x / (1 + np.abs(x))),
    "Clip": _clip,
    "MaxPool": lambda attrs, x: _pool(attrs, x, np.max, -np.inf),
    "AveragePool": lambda attrs, x: _pool(attrs, x, np.mean, 0.0),
    "GlobalAveragePool": _elementwise(lambda x: x.mean((2, 3), keepdims=True)),
    "Concat": lambda attrs, *x: np.concatenate([np.atleast_1d(each) for each in x], attrs["axis"]),
    "ReduceL2": _reduce(lambda x, **how: np.sqrt(np.square(x).sum(**how))),
    "ReduceSumSquare": _reduce(lambda x, **how: np.square(x).sum(**how)),
    "ReduceMean": _reduce(np.mean),
    "Sqrt": _elementwise(np.sqrt),
    "Abs": _elementwise(np.abs),
    "Reciprocal": _elementwise(lambda x: 1 / x),
    "Add": _elementwise(np.add),
    "Sub": _elementwise(np.subtract),
    "Mul": _elementwise(np.multiply),
    "Div": _elementwise(_divide),
    "Pow": _elementwise(np.power),
    "Gemm": _gemm,
    "MatMul": _elementwise(np.matmul),
    "Softmax": _softmax,
    "Split": _split,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": lambda attrs, x: np.transpose(x, attrs.get("perm")),
    "Squeeze": lambda attrs, x, axes=None: np.squeeze(x, _axes(attrs, axes)),
    "Unsqueeze": lambda attrs, x, axes=None: np.expand_dims(x, _axes(attrs, axes)),
    "Shape": _shape,
    "Gather": lambda attrs, x, places: np.take(x, places, attrs.get("axis", 0)),
    "Slice": _slice,
    "Dropout": lambda attrs, x, *_: x,
    "Identity": lambda attrs, x: x,
    "Cast": lambda attrs, x: x,
    "Constant": _constant,
}
