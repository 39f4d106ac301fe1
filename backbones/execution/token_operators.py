"""The operators of transformers in OneFlow; ``backbones.execution.operators`` has the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backbones.execution.context import OperatorContext
from backbones.graph.network_graph import Node
from ops import flow

_HIDDEN = -1e9  # a logit whose softmax is exactly 0


def _tokens(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    return flow.flatten(x, 2).transpose(1, 2)


def _position(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    return x + context.array(node, "weight")


def _layer_norm(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    gamma, beta = (context.array(node, kind) for kind in ("gamma", "beta"))
    return flow.nn.functional.layer_norm(x, [x.shape[-1]], gamma, beta, node.attrs["eps"])


def _attention(context: OperatorContext, node: Node, qkv: flow.Tensor, keep: flow.Tensor | None = None) -> flow.Tensor:
    batch, tokens, width = qkv.shape
    heads = node.attrs["heads"]
    size = width // 3 // heads
    q, k, v = (part.reshape(batch, tokens, heads, size).transpose(1, 2) for part in qkv.chunk(3, dim=2))
    logits = flow._C.matmul(q, k, transpose_a=False, transpose_b=True) * size**-0.5
    if keep is not None:
        logits = logits + ((1 - keep) * _HIDDEN).reshape(batch, 1, 1, tokens)
    y = flow.matmul(flow.softmax(logits, dim=-1), v)
    return y.transpose(1, 2).reshape(batch, tokens, width // 3)


def _drop_path(context: OperatorContext, node: Node, x: flow.Tensor, keep: flow.Tensor | None) -> flow.Tensor:
    if keep is None:
        return x
    return x * keep.reshape(-1, *[1] * (x.ndim - 1)) * (1 / (1 - node.attrs["p"]))


def _token_mask(context: OperatorContext, node: Node, x: flow.Tensor, keep: flow.Tensor | None) -> flow.Tensor | None:
    return keep


def _fill_masked(context: OperatorContext, node: Node, x: flow.Tensor, keep: flow.Tensor | None) -> flow.Tensor:
    if keep is None:
        return x
    keep = keep.reshape(*x.shape[:2], 1)
    return x * keep + context.array(node, "weight") * (1 - keep)


TOKEN_OPERATORS: dict[str, Callable[..., Any]] = {
    "tokens": _tokens,
    "position": _position,
    "layer_norm": _layer_norm,
    "attention": _attention,
    "drop_path": _drop_path,
    "token_mask": _token_mask,
    "fill_masked": _fill_masked,
}
