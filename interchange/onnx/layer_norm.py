"""The normalisation of tokens, which files before opset 17 spread over several nodes, recognised as one operator.

Of tokens x: ReduceMean over the last axis; Sub from x; the square by Mul or Pow; ReduceMean; Add of eps; Sqrt; Div; Mul
by gamma; Add of beta. Each intermediate value is a ``Piece``. A step returns whether the node is part of this.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from interchange.onnx.graph_reader import GraphReader, Operation, Piece

Step = Callable[[GraphReader, Operation], bool]


def reduced_axes(reader: GraphReader, node: Operation) -> list[int]:
    """Return the axes that a reduction names, as attribute or, from opset 18 on, as input."""
    if (name := node.optional(1)) is not None:
        return [int(axis) for axis in reader.constants[name].reshape(-1)]
    return list(node.attrs.get("axes", []))


def _mean(reader: GraphReader, node: Operation) -> bool:
    x = node.inputs[0]
    if reduced_axes(reader, node) not in ([-1], [2]) or not node.attrs.get("keepdims", 1):
        return False
    if (piece := reader.pieces.get(x)) is not None and piece.kind == "squared tokens":
        reader.pieces[node.output] = replace(piece, kind="variances of tokens")
    elif piece is None and len(reader.build.shape(x)) == 2:
        reader.pieces[node.output] = Piece("means of tokens", x)
    else:
        return False
    return True


def _subtract(reader: GraphReader, node: Operation) -> bool:
    x, means = node.inputs
    return _follow(reader, node, means, "means of tokens", "centred tokens", source=x)


def _square(reader: GraphReader, node: Operation) -> bool:
    return node.inputs[0] == node.inputs[1] and _follow(
        reader, node, node.inputs[0], "centred tokens", "squared tokens"
    )


def _power(reader: GraphReader, node: Operation) -> bool:
    x, exponent = node.inputs
    if exponent not in reader.constants or reader.scalar(exponent, node.output) != 2:
        return False
    return _follow(reader, node, x, "centred tokens", "squared tokens")


def _multiply(reader: GraphReader, node: Operation) -> bool:
    x, gamma = reader.image_and_constant(node.inputs)
    if gamma is None:
        return _square(reader, node)
    return _follow(reader, node, x, "normalised tokens", "multiplied tokens", array=gamma)


def _add(reader: GraphReader, node: Operation) -> bool:
    x, constant = reader.image_and_constant(node.inputs)
    piece = reader.pieces.get(x)
    if piece is None or constant is None:
        return False
    if piece.kind == "multiplied tokens":
        reader.build.layer_norm(piece.source, node.output, piece.array, constant, eps=piece.factor)
        return True
    if piece.kind != "variances of tokens":
        return False
    eps = reader.scalar(constant, node.output)
    if reader.constants[constant].dtype == np.float16:
        eps = float(str(np.float16(eps)))  # the short decimal that was rounded
    reader.pieces[node.output] = replace(piece, kind="shifted variances of tokens", factor=eps)
    return True


def _root(reader: GraphReader, node: Operation) -> bool:
    return _follow(reader, node, node.inputs[0], "shifted variances of tokens", "deviations of tokens")


def _divide(reader: GraphReader, node: Operation) -> bool:
    x, deviations = node.inputs
    centred = reader.pieces.get(x)
    if centred is None or centred.kind != "centred tokens":
        return False
    return _follow(reader, node, deviations, "deviations of tokens", "normalised tokens", source=centred.source)


def _follow(
    reader: GraphReader, node: Operation, x: str, before: str, after: str, source: str | None = None, array: str = ""
) -> bool:
    """Record the piece ``after`` if ``x`` is the piece ``before``, of the tokens ``source`` if that is given."""
    piece = reader.pieces.get(x)
    if piece is None or piece.kind != before or source not in (None, piece.source):
        return False
    reader.pieces[node.output] = replace(piece, kind=after, array=array)
    return True


LAYER_NORM_STEPS: dict[str, Step] = {
    "ReduceMean": _mean,
    "Sub": _subtract,
    "Pow": _power,
    "Mul": _multiply,
    "Add": _add,
    "Sqrt": _root,
    "Div": _divide,
}
