"""Writes networks as MXNet checkpoints: symbol and parameters, for ``mx.model.load_checkpoint`` and ``Module``.

Names are the description's, which are InsightFace's; the preprocessing is the symbol's first two nodes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backbones.graph.arrays import check_arrays
from backbones.graph.network_graph import NetworkGraph, Node
from common.errors import UserError

MXNET_VERSION = 10901


class _Symbol:
    """The node list of the file while it is written."""

    def __init__(self, network: NetworkGraph) -> None:
        self.network = network
        self.nodes: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def variable(self, name: str, shape: tuple[int, ...] | None = None) -> int:
        """Add a variable unless it exists; return its number. MXNet infers most shapes."""
        if name not in self._numbers:
            self._append("null", name, {"__shape__": str(shape)} if shape else {}, [])
        return self._numbers[name]

    def add(self, op: str, name: str, inputs: list[int], **attrs: object) -> int:
        """Add an operator on nodes of these numbers; return its own number."""
        self._append(op, name, {key: str(value) for key, value in attrs.items()}, inputs)
        return self._numbers[name]

    def _append(self, op: str, name: str, attrs: dict[str, str], inputs: list[int]) -> None:
        node: dict[str, Any] = {"op": op, "name": name}
        if attrs:
            node["attrs"] = attrs
        node["inputs"] = [[number, 0, 0] for number in inputs]
        self._numbers[name] = len(self.nodes)
        self.nodes.append(node)

    def node(self, name: str) -> int:
        """Return the number of a value."""
        return self._numbers[name]

    def alias(self, name: str, number: int) -> None:
        """Make ``name`` a name of the node of this number."""
        self._numbers[name] = number

    def arrays(self, node: Node, *roles: str) -> list[int]:
        """Return the variables of a node's arrays in MXNet's order."""
        names = node.arrays
        return [self.variable(names[role]) for role in roles if role in names]

    def dump(self, heads: list[int]) -> str:
        content = {
            "nodes": self.nodes,
            "arg_nodes": [number for number, node in enumerate(self.nodes) if node["op"] == "null"],
            "node_row_ptr": list(range(len(self.nodes) + 1)),
            "heads": [[head, 0, 0] for head in heads],
            "attrs": {"mxnet_version": ["int", MXNET_VERSION]},
        }
        return json.dumps(content, indent=2) + "\n"


def _scale_shift(symbol: _Symbol, node: Node, x: int) -> int:
    centred = symbol.add("_minus_scalar", "_minusscalar0", [x], scalar=node.attrs["mean"])
    return symbol.add("_mul_scalar", "_mulscalar0", [centred], scalar=node.attrs["scale"])


def _conv(symbol: _Symbol, node: Node, x: int) -> int:
    attrs = node.attrs
    return symbol.add(
        "Convolution",
        node.name,
        [x, *symbol.arrays(node, "weight", "bias")],
        kernel=(attrs["kernel"],) * 2,
        stride=(attrs["stride"],) * 2,
        pad=(attrs["pad"],) * 2,
        num_filter=attrs["filters"],
        num_group=attrs["groups"],
        no_bias=not attrs["bias"],
    )


def _batch_norm(symbol: _Symbol, node: Node, x: int) -> int:
    inputs = [x, *symbol.arrays(node, "gamma", "beta", "moving_mean", "moving_var")]
    attrs = node.attrs
    return symbol.add(
        "BatchNorm", node.name, inputs, eps=attrs["eps"], momentum=attrs["momentum"], fix_gamma=attrs["fix_gamma"]
    )


def _fully_connected(symbol: _Symbol, node: Node, x: int) -> int:
    inputs = [x, *symbol.arrays(node, "weight", "bias")]
    return symbol.add(
        "FullyConnected", node.name, inputs, num_hidden=node.attrs["units"], no_bias=len(inputs) < 3, flatten=True
    )


def _flatten(symbol: _Symbol, node: Node, x: int) -> int:
    """Add nothing before a fully connected layer: MXNet's flatten their input, and InsightFace's symbols rely on it."""
    users = [other.op for other in symbol.network.nodes if node.name in other.inputs]
    if users and set(users) == {"fully_connected"}:
        return x
    return symbol.add("Flatten", node.name, [x])


def _prelu(symbol: _Symbol, node: Node, x: int) -> int:
    # Without a shape MXNet assumes one slope per channel.
    shape = (1,) if node.attrs["shared"] else None
    return symbol.add("LeakyReLU", node.name, [x, symbol.variable(node.arrays["slope"], shape)], act_type="prelu")


def _activation(symbol: _Symbol, node: Node, x: int) -> int:
    kind = node.attrs["kind"]
    if kind == "relu6":
        return symbol.add("clip", node.name, [x], a_min=0.0, a_max=6.0)
    return symbol.add("Activation", node.name, [x], act_type=kind)


def _pool(symbol: _Symbol, node: Node, x: int) -> int:
    attrs = node.attrs
    window = {key: (attrs[key],) * 2 for key in ("kernel", "stride", "pad")}
    return symbol.add("Pooling", node.name, [x], pool_type=attrs["kind"], pooling_convention="valid", **window)


def _equalize_pixel_norms(symbol: _Symbol, node: Node, x: int) -> int:
    name = node.name
    squares = symbol.add("elemwise_mul", f"{name}_squares", [x, x])
    sums = symbol.add("sum", f"{name}_sums", [squares], axis=1, keepdims=True)
    norms = symbol.add("sqrt", f"{name}_norms", [sums])
    mean = symbol.add("mean", f"{name}_mean", [norms], axis=(0, 1, 2, 3), keepdims=True)
    return symbol.add("broadcast_mul", name, [x, symbol.add("broadcast_div", f"{name}_ratio", [mean, norms])])


SYMBOL_WRITERS: dict[str, Callable[..., int]] = {
    "scale_shift": _scale_shift,
    "conv": _conv,
    "batch_norm": _batch_norm,
    "prelu": _prelu,
    "activation": _activation,
    "scale_channels": lambda symbol, node, x, y: symbol.add("broadcast_mul", node.name, [x, y]),
    "concat": lambda symbol, node, *x: symbol.add("Concat", node.name, list(x), dim=1, num_args=len(x)),
    "pool": _pool,
    "global_pool": lambda symbol, node, x: symbol.add(
        "Pooling", node.name, [x], global_pool=True, kernel=(1, 1), pool_type="avg"
    ),
    "equalize_pixel_norms": _equalize_pixel_norms,
    "add": lambda symbol, node, a, b: symbol.add("elemwise_add", node.name, [a, b]),
    "dropout": lambda symbol, node, x: symbol.add("Dropout", node.name, [x], p=node.attrs["p"]),
    "flatten": _flatten,
    "fully_connected": _fully_connected,
}


def write_symbol(network: NetworkGraph, head: Mapping[str, np.ndarray] | None = None) -> str:
    """Return the text of ``-symbol.json``: output ``fc1``, and with ``head`` a second one, ``fc7``.

    ``fc7`` is that of InsightFace's training: cosines with the class centres, or with a bias the plain layer.

    Raises:
        UserError: MXNet lacks an operator of the network.
    """
    symbol = _Symbol(network)
    for node in network.nodes:
        if node.op == "input":
            symbol.variable(node.name)
        else:
            if node.op not in SYMBOL_WRITERS:
                raise UserError(f"MXNet has no operator {node.op} ({node.name}); write this network as ONNX instead")
            number = SYMBOL_WRITERS[node.op](symbol, node, *(symbol.node(name) for name in node.inputs))
            symbol.alias(node.name, number)
    heads = [symbol.node(network.output)]
    if head:
        heads.append(_add_head(symbol, heads[0], head))
    return symbol.dump(heads)


def _add_head(symbol: _Symbol, embedding: int, head: Mapping[str, np.ndarray]) -> int:
    weight = symbol.variable("fc7_weight", head["fc7_weight"].shape)
    classes = len(head["fc7_weight"])
    if "fc7_bias" in head:
        bias = symbol.variable("fc7_bias")
        return symbol.add("FullyConnected", "fc7", [embedding, weight, bias], num_hidden=classes, no_bias=False)
    weight = symbol.add("L2Normalization", "fc7_weight_norm", [weight], mode="instance")
    embedding = symbol.add("L2Normalization", "fc1n", [embedding], mode="instance")
    return symbol.add("FullyConnected", "fc7", [embedding, weight], num_hidden=classes, no_bias=True)


def mxnet_arrays(
    network: NetworkGraph, arrays: Mapping[str, np.ndarray], head: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Return the arrays of the ``.params`` file, under their ``arg:`` and ``aux:`` names.

    Raises:
        UserError: ``arrays`` do not fit ``network``.
    """
    check_arrays(network, arrays)
    named = {}
    for name, spec in network.parameters().items():
        values = np.ones(spec.shape) if spec.fixed else arrays[name]
        named[f"{'aux' if spec.auxiliary else 'arg'}:{name}"] = np.asarray(values, dtype=np.float32)
    return named | {f"arg:{name}": np.asarray(array, np.float32) for name, array in (head or {}).items()}
