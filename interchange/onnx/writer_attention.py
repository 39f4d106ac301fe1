"""Writes the operators of transformers as ONNX nodes; operators that only training uses are omitted."""

from __future__ import annotations

from collections.abc import Callable

from backbones.graph.nodes import Node
from interchange.onnx.model_parts import Writer

_LAYER_NORM = 17  # the first opset with LayerNormalization


def _write_tokens(writer: Writer, node: Node, x: str) -> None:
    _, channels = writer.graph.shapes[node.name]
    shape = writer.add_shape(f"{node.name}_shape", (0, channels, -1))
    writer.add_node("Reshape", [x, shape], f"{node.name}_columns")
    writer.add_node("Transpose", [f"{node.name}_columns"], node.name, perm=[0, 2, 1])


def _write_position(writer: Writer, node: Node, x: str) -> None:
    writer.add_node("Add", [x, writer.add_parameter(node.arrays["weight"])], node.name)


def _write_layer_norm(writer: Writer, node: Node, x: str) -> None:
    name, eps = node.name, node.attrs["eps"]
    gamma, beta = (writer.add_parameter(node.arrays[kind]) for kind in ("gamma", "beta"))
    if writer.form.opset >= _LAYER_NORM:
        writer.add_node("LayerNormalization", [x, gamma, beta], name, axis=-1, epsilon=eps)
        return
    writer.add_reduction("ReduceMean", x, f"{name}_mean", [-1])
    writer.add_node("Sub", [x, f"{name}_mean"], f"{name}_centered")
    writer.add_node("Mul", [f"{name}_centered", f"{name}_centered"], f"{name}_squares")
    writer.add_reduction("ReduceMean", f"{name}_squares", f"{name}_variance", [-1])
    writer.add_node("Add", [f"{name}_variance", writer.add_number(f"{name}_eps", eps, 2)], f"{name}_sum")
    writer.add_node("Sqrt", [f"{name}_sum"], f"{name}_deviation")
    writer.add_node("Div", [f"{name}_centered", f"{name}_deviation"], f"{name}_normalized")
    writer.add_node("Mul", [f"{name}_normalized", gamma], f"{name}_multiplied")
    writer.add_node("Add", [f"{name}_multiplied", beta], name)


def _write_attention(writer: Writer, node: Node, qkv: str, mask: str | None = None) -> None:
    name, heads = node.name, node.attrs["heads"]
    tokens, width = writer.graph.shapes[name]
    split = writer.add_shape(f"{name}_heads_shape", (0, tokens, heads, width // heads))
    parts = [f"{name}_{part}" for part in ("query", "key", "value")]
    writer.add_split(qkv, parts, (width,) * 3, f"{name}_part_sizes")
    for part, order in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True):
        writer.add_node("Reshape", [part, split], f"{part}_split")
        writer.add_node("Transpose", [f"{part}_split"], f"{part}_heads", perm=order)
    scale = writer.add_number(f"{name}_factor", (width // heads) ** -0.5, 3)
    writer.add_node("MatMul", [f"{parts[0]}_heads", f"{parts[1]}_heads"], f"{name}_products")
    writer.add_node("Mul", [f"{name}_products", scale], f"{name}_logits")
    writer.add_node("Softmax", [f"{name}_logits"], f"{name}_weights", axis=-1)
    writer.add_node("MatMul", [f"{name}_weights", f"{parts[2]}_heads"], f"{name}_heads")
    writer.add_node("Transpose", [f"{name}_heads"], f"{name}_rows", perm=[0, 2, 1, 3])
    joined = writer.add_shape(f"{name}_shape", (0, tokens, width))
    writer.add_node("Reshape", [f"{name}_rows", joined], name)


def _skip(writer: Writer, node: Node, x: str, mask: str | None = None) -> None:
    writer.aliases[node.name] = x


TRANSFORMER_WRITERS: dict[str, Callable[..., None]] = {
    "tokens": _write_tokens,
    "position": _write_position,
    "layer_norm": _write_layer_norm,
    "attention": _write_attention,
    "drop_path": _skip,
    "token_mask": _skip,
    "fill_masked": _skip,
}
