"""Softsign, x / (1 + |x|), which our files spread over several nodes, recognised as one operator.

Abs; Add of 1; then Reciprocal and Mul with x, or Div of x. Each intermediate value is a ``Piece``. A step returns if
the node is part of this.
"""

from __future__ import annotations

from dataclasses import replace

from interchange.onnx.graph_reader import GraphReader, Operation, Piece

_MAGNITUDE, _DIVISOR, _FACTOR = "magnitude", "1 + magnitude", "1 / (1 + magnitude)"


def _abs(reader: GraphReader, node: Operation) -> bool:
    reader.pieces[node.output] = Piece(_MAGNITUDE, node.inputs[0])
    return True


def _add(reader: GraphReader, node: Operation) -> bool:
    x, constant = reader.image_and_constant(node.inputs)
    piece = reader.pieces.get(x)
    if piece is None or piece.kind != _MAGNITUDE or constant is None or reader.scalar(constant, node.output) != 1:
        return False
    reader.pieces[node.output] = replace(piece, kind=_DIVISOR)
    return True


def _reciprocal(reader: GraphReader, node: Operation) -> bool:
    piece = reader.pieces.get(node.inputs[0])
    if piece is None or piece.kind != _DIVISOR:
        return False
    reader.pieces[node.output] = replace(piece, kind=_FACTOR)
    return True


def _multiply(reader: GraphReader, node: Operation) -> bool:
    return any(_finish(reader, node, x, other, _FACTOR) for x, other in (node.inputs, node.inputs[::-1]))


def _divide(reader: GraphReader, node: Operation) -> bool:
    return _finish(reader, node, *node.inputs, _DIVISOR)


def _finish(reader: GraphReader, node: Operation, x: str, other: str, kind: str) -> bool:
    piece = reader.pieces.get(other)
    if piece is None or (piece.kind, piece.source) != (kind, x):
        return False
    reader.build.activation(x, node.output, "softsign")
    return True


SOFTSIGN_STEPS = {"Abs": _abs, "Add": _add, "Reciprocal": _reciprocal, "Mul": _multiply, "Div": _divide}
