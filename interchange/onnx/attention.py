"""Attention, which an ONNX file spreads over several nodes, recognised as one operator.

From query, key and value in one, tokens [N, T, 3 * C], of H heads: Split into three; Reshape and Transpose of each to
[N, H, T, C / H] and of the key on to [N, H, C / H, T]; MatMul of query and key, times (C / H) ** -0.5; Softmax; MatMul
with the value; Transpose and Reshape back to [N, T, C]. Each intermediate value is a ``Piece``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from interchange.onnx.graph_reader import KEY, QUERY, VALUE, GraphReader, Operation, Piece

# (kind of a piece, permutation of its axes) -> kind of the result
_ORDERS = {
    ("by token", (0, 2, 1, 3)): "by head",
    ("by token", (0, 2, 3, 1)): "columns by head",
    ("by head", (0, 1, 3, 2)): "columns by head",
    ("sums by head", (0, 2, 1, 3)): "sums by token",
}


def split_qkv(reader: GraphReader, node: Operation) -> None:
    """Split query, key and value."""
    x = node.inputs[0]
    shape = reader.build.shape(x)
    given = reader.constants[node.inputs[1]] if node.optional(1) else node.attrs.get("split", [shape[-1] // 3])
    sizes = {int(size) for size in given}
    if len(shape) != 2 or node.attrs.get("axis", 0) not in (2, -1) or len(node.outputs) != 3 or len(sizes) != 1:
        raise reader.error(f"{node.output} splits something other than query, key and value")
    for part, name in enumerate(node.outputs):
        reader.pieces[name] = Piece("part", x, part)


def rows_of_tokens(reader: GraphReader, node: Operation, shape: Sequence[int]) -> bool:
    """Read a Reshape of tokens [N, T, C] to rows [N * T, C] or back, between which onnxsim puts a Gemm.

    Returns whether it is one.
    """
    x, piece = node.inputs[0], reader.pieces.get(node.inputs[0])
    if piece is not None and piece.kind == "rows":
        if shape[0] == 0 or list(shape[1:]) != list(reader.build.shape(piece.source)):
            raise reader.error(f"{node.output} reshapes rows of tokens to {list(shape)}, which no known network does")
        reader.build.alias(piece.source, node.output)
        return True
    if piece is not None or len(shape) != 2:
        return False
    size = reader.build.shape(x)
    if len(size) != 2 or shape[1] != size[1] or size[0] == 1:
        return False
    reader.pieces[node.output] = Piece("rows", x)
    return True


def tokens_of_rows(reader: GraphReader, x: str, output: str) -> tuple[str, str]:
    """Return input and output of a layer on tokens if ``x`` are rows of tokens, else ``x`` and ``output``."""
    piece = reader.pieces.get(x)
    if piece is None or piece.kind != "rows":
        return x, output
    made = f"{output} of tokens"
    reader.pieces[output] = Piece("rows", made)
    return piece.source, made


def reshape(reader: GraphReader, node: Operation, shape: Sequence[int]) -> None:
    """Split the columns of a part into heads, join them again, or turn a map into columns."""
    x = node.inputs[0]
    piece = reader.pieces.get(x)
    if piece is None:
        size = reader.build.shape(x)
        if len(size) == 3 and len(shape) == 3 and shape[1] == size[0] and shape[2] in (-1, size[1] * size[2]):
            reader.pieces[node.output] = Piece("columns", x)
            return
    else:
        tokens, width = _size(reader, piece)
        heads = shape[2] if len(shape) == 4 else 0
        if piece.kind == "part" and heads > 0 and list(shape[1:]) == [tokens, heads, width // heads]:
            reader.pieces[node.output] = replace(piece, kind="by token", heads=heads)
            return
        if piece.kind == "sums by token" and list(shape[1:]) in ([tokens, width], [tokens, -1]):
            reader.build.attention(piece.source, node.output, piece.heads)
            return
    raise reader.error(f"{node.output} is a Reshape that is neither a flattening nor part of an attention")


def transpose(reader: GraphReader, node: Operation) -> None:
    """Permute the axes of a piece."""
    piece, order = reader.pieces.get(node.inputs[0]), tuple(node.attrs.get("perm", ()))
    if piece is not None and (piece.kind, order) == ("columns", (0, 2, 1)):
        reader.build.tokens(piece.source, node.output)
        return
    kind = _ORDERS.get((piece.kind, order)) if piece else None
    if kind is None:
        raise reader.error(f"{node.output} permutes axes by {order}, which no known network does")
    reader.pieces[node.output] = replace(piece, kind=kind)


def multiply_pieces(reader: GraphReader, node: Operation) -> None:
    """Multiply queries with keys, or weights with values."""
    a, b = (reader.pieces.get(name) for name in node.inputs)
    if a is None or b is None or (a.source, a.heads) != (b.source, b.heads):
        raise reader.error(f"{node.output} multiplies values that are not parts of one attention")
    what = ((a.kind, a.part), (b.kind, b.part))
    if what == (("by head", QUERY), ("columns by head", KEY)):
        reader.pieces[node.output] = Piece("products", a.source, heads=a.heads, factor=a.factor * b.factor)
    elif what == (("weights", -1), ("by head", VALUE)) and b.factor == 1:
        reader.pieces[node.output] = Piece("sums by head", a.source, heads=a.heads)
    else:
        raise reader.error(f"{node.output} multiplies {a.kind} with {b.kind}, which no attention does")


def scale_piece(reader: GraphReader, node: Operation, x: str, factor: float) -> None:
    """Multiply a piece by a number."""
    piece = reader.pieces[x]
    reader.pieces[node.output] = replace(piece, factor=piece.factor * factor)


def softmax(reader: GraphReader, node: Operation) -> None:
    """Turn products into weights; they must carry the scale of an attention."""
    piece = reader.pieces.get(node.inputs[0])
    if piece is None or piece.kind != "products" or node.attrs.get("axis", -1) not in (-1, 3):
        raise reader.error(f"{node.output} is a Softmax outside of an attention")
    expected = (_size(reader, piece)[1] / piece.heads) ** -0.5
    in_half = np.float32(piece.factor) == np.float16(expected)  # a file in float16 rounds it
    if not in_half and not np.isclose(piece.factor, expected, rtol=1e-6, atol=0):
        raise reader.error(f"{node.output}: its logits are scaled by {piece.factor:g}, an attention's by {expected:g}")
    reader.pieces[node.output] = Piece("weights", piece.source, heads=piece.heads)


def _size(reader: GraphReader, piece: Piece) -> tuple[int, int]:
    """Return the number of tokens and the width of one part."""
    tokens, width = reader.build.shape(piece.source)
    return tokens, width // 3
