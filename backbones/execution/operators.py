"""The operators of a network description in OneFlow: one small function each, by name in ``OPERATORS``.

Each takes the context, the node, and the node's inputs with a leading batch axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backbones.execution.context import OperatorContext
from backbones.execution.sync_batch_norm import normalize
from backbones.execution.token_operators import TOKEN_OPERATORS
from backbones.graph.network_graph import AUXILIARY_KINDS, Node
from ops import flow


def _scale_shift(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    return (x - node.attrs["mean"]) * node.attrs["scale"]


def _conv(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    attrs = node.attrs
    return flow._C.conv2d(
        x,
        context.array(node, "weight"),
        context.array(node, "bias") if attrs["bias"] else None,
        stride=[attrs["stride"]] * 2,
        padding=[attrs["pad"]] * 2,
        dilation=[1, 1],
        groups=attrs["groups"],
    )


def _batch_norm(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    arrays = {kind: context.array(node, kind) for kind in ("moving_mean", "moving_var", "gamma", "beta")}
    if context.training and context.new_statistics is not None:
        y, *moments = normalize(x, arrays["gamma"], arrays["beta"], node.attrs["eps"])
        keep = node.attrs["momentum"]
        for kind, moment in zip(AUXILIARY_KINDS, moments, strict=True):
            context.new_statistics[node.arrays[kind]] = arrays[kind] * keep + moment * (1 - keep)
        return y
    # Functional, because nn.BatchNorm would add a num_batches_tracked buffer, which no file format supports.
    return flow._C.normalization(
        x,
        *arrays.values(),
        axis=1,
        epsilon=node.attrs["eps"],
        momentum=1 - node.attrs["momentum"],
        is_training=context.training and not context.freeze_bn,
    )


def _prelu(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    slope = context.array(node, "slope")
    return flow._C.prelu(x, slope.expand(x.shape[1]) if node.attrs["shared"] else slope)


def _activation(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    return ACTIVATIONS[node.attrs["kind"]](x)


def _add(context: OperatorContext, node: Node, a: flow.Tensor, b: flow.Tensor) -> flow.Tensor:
    return a + b


def _scale_channels(context: OperatorContext, node: Node, x: flow.Tensor, factors: flow.Tensor) -> flow.Tensor:
    return x * factors


def _concat(context: OperatorContext, node: Node, *values: flow.Tensor) -> flow.Tensor:
    return flow.cat(values, dim=1)


def _pool(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    attrs = node.attrs
    window = {"kernel_size": [attrs["kernel"]] * 2, "stride": [attrs["stride"]] * 2, "padding": [attrs["pad"]] * 2}
    if attrs["kind"] == "max":
        return flow._C.max_pool2d(x, **window)[0]
    return flow._C.avg_pool2d(x, **window)


def _global_pool(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    return x.mean(dim=[2, 3], keepdim=True)


def _equalize_pixel_norms(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    norms = x.square().sum(dim=1, keepdim=True).sqrt()
    return x * (norms.mean() / norms)


def _dropout(context: OperatorContext, node: Node, x: flow.Tensor, keep: flow.Tensor | None) -> flow.Tensor:
    if keep is None:
        return x
    return x * keep.reshape(*x.shape) * (1 / (1 - node.attrs["p"]))


def _flatten(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    return flow.flatten(x, 1)


def _fully_connected(context: OperatorContext, node: Node, x: flow.Tensor) -> flow.Tensor:
    y = flow._C.matmul(x, context.array(node, "weight"), transpose_a=False, transpose_b=True)
    return y + context.array(node, "bias") if node.attrs["bias"] else y


ACTIVATIONS: dict[str, Callable[[flow.Tensor], flow.Tensor]] = {
    "relu": flow.relu,
    "sigmoid": flow.sigmoid,
    "tanh": flow.tanh,
    "softrelu": flow.nn.functional.softplus,
    "softsign": flow.nn.functional.softsign,
    "relu6": flow.nn.functional.relu6,
}
OPERATORS: dict[str, Callable[..., Any]] = {
    "scale_shift": _scale_shift,
    "conv": _conv,
    "batch_norm": _batch_norm,
    "prelu": _prelu,
    "activation": _activation,
    "add": _add,
    "scale_channels": _scale_channels,
    "concat": _concat,
    "pool": _pool,
    "global_pool": _global_pool,
    "equalize_pixel_norms": _equalize_pixel_norms,
    "dropout": _dropout,
    "flatten": _flatten,
    "fully_connected": _fully_connected,
    **TOKEN_OPERATORS,
}
