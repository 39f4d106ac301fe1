"""Reads MXNet's ``-symbol.json`` with its arrays into a description, without MXNet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backbones.graph.network_graph import AUXILIARY_KINDS, NetworkGraph
from common.errors import UserError
from common.json_text import parse_json
from interchange.binary import require_file
from interchange.graph_builder import ForeignBuilder
from interchange.mxnet.attributes import SymbolNode

EMBEDDING = "fc1"
_REDUCTIONS = {"sums": ((1,),), "mean": ((), (0, 1, 2, 3))}  # the axes of ``equalize_pixel_norms``
MAX_BYTES = 1 << 24  # the deepest known network's symbol has less than 1 MB


def read_symbol(path: Path) -> list[SymbolNode]:
    """Return the nodes that ``fc1`` (or the only output, where no node has that name) needs, inputs first.

    Raises:
        UserError: the file is missing or is not a symbol.
    """
    require_file(path, "an MXNet symbol beside the .params")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MB; an MXNet symbol is small")
        content = parse_json(path.read_bytes())
        nodes = [_read_node(entry, content["nodes"]) for entry in content["nodes"]]
        heads = [str(content["nodes"][head[0]]["name"]) for head in content["heads"]]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected an MXNet symbol") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not an MXNet symbol ({type(error).__name__}: {error})") from error
    by_name = {node.name: node for node in nodes}
    if EMBEDDING not in by_name and len(heads) != 1:
        raise UserError(f"{path} has no node '{EMBEDDING}' and {len(heads)} outputs; which is the embedding?")
    needed, stack = set(), [EMBEDDING if EMBEDDING in by_name else heads[0]]
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack.extend(by_name[name].inputs)
    return [node for node in nodes if node.name in needed]


def _read_node(entry: dict[str, Any], nodes: list[dict[str, Any]]) -> SymbolNode:
    # The key has changed its name twice; "attr" of old files also holds attributes of variables, which no reader uses.
    attrs = {**entry.get("attr", {}), **entry.get("param", {}), **entry.get("attrs", {})}
    if any(item[1] for item in entry["inputs"]):
        raise ValueError(f"{entry['name']} takes a second output of another node")
    texts = {str(key): str(value) for key, value in attrs.items()}
    return SymbolNode(
        str(entry["op"]), str(entry["name"]), texts, [str(nodes[item[0]]["name"]) for item in entry["inputs"]]
    )


def translate_symbol(
    nodes: Sequence[SymbolNode], arrays: Mapping[str, np.ndarray], image_size: int, source: str
) -> tuple[NetworkGraph, dict[str, np.ndarray]]:
    """Return the description of a symbol for images of ``image_size``, and its arrays by the description's names.

    Raises:
        UserError: an operator or one of its settings is unknown, or an array is missing or of another shape.
    """
    builder = ForeignBuilder(source, arrays)
    for node in nodes:
        if node.op == "null":
            if node.name == "data":
                builder.input("data", image_size)
            continue
        if node.op not in SYMBOL_READERS:
            raise UserError(
                f"{source}: {node.name} is a {node.op}; known operators: {', '.join(sorted(SYMBOL_READERS))}"
            )
        try:
            SYMBOL_READERS[node.op](builder, node)
        except UserError as error:
            raise builder.named(error) from error.__cause__
        except (ValueError, TypeError, KeyError, IndexError, ZeroDivisionError, OverflowError) as error:
            raise UserError(f"{source}: {node.name} is a {node.op} that does not fit its inputs ({error})") from error
    return builder.finish()


def _square(builder: ForeignBuilder, node: SymbolNode, key: str, default: int) -> int:
    return builder.single_value(node.name, key, node.lengths(key, ()) or [default])


def _refuse(builder: ForeignBuilder, node: SymbolNode, what: str) -> UserError:
    return UserError(f"{builder.source}: {node.name} is a {node.op} {what}, which no known network has")


def _conv(builder: ForeignBuilder, node: SymbolNode) -> None:
    if _square(builder, node, "dilate", 1) != 1:
        raise _refuse(builder, node, "with dilation")
    if node.word("layout", "None") not in ("None", "NCHW"):
        raise _refuse(builder, node, f"of layout {node.word('layout', '')}")
    x, weight, *bias = node.inputs
    builder.conv(
        x,
        node.name,
        weight,
        bias[0] if bias else None,
        stride=_square(builder, node, "stride", 1),
        pad=_square(builder, node, "pad", 0),
        groups=node.whole("num_group", 1),
    )


def _batch_norm(builder: ForeignBuilder, node: SymbolNode) -> None:
    x, *arrays = node.inputs
    axes = len(builder.shape(x)) + 1
    if node.whole("axis", 1) % axes != 1:
        raise _refuse(builder, node, f"over axis {node.whole('axis', 1)}")
    if len(arrays) == 2:  # symbols of old versions do not list the moving statistics
        arrays += [f"{node.name}_{kind}" for kind in AUXILIARY_KINDS]
    builder.batch_norm(
        x,
        node.name,
        arrays,
        eps=node.number("eps", 1e-3),
        momentum=node.number("momentum", 0.9),
        fix_gamma=node.flag("fix_gamma", True),
    )


def _leaky_relu(builder: ForeignBuilder, node: SymbolNode) -> None:
    kind = node.word("act_type", "leaky")
    if kind != "prelu":
        raise UserError(f"{builder.source}: {node.name} is a LeakyReLU of type {kind}; only prelu is known")
    builder.prelu(node.inputs[0], node.name, node.inputs[1] if len(node.inputs) > 1 else f"{node.name}_gamma")


def _fully_connected(builder: ForeignBuilder, node: SymbolNode) -> None:
    x, weight, *bias = node.inputs
    if not node.flag("flatten", True) and len(builder.shape(x)) > 1:
        raise _refuse(builder, node, "of the last axis alone")
    builder.fully_connected(builder.flatten(x, f"{node.name}_flat"), node.name, weight, bias[0] if bias else None)


def _scalar(method: str, change: Callable[[float], float] = float) -> Callable[[ForeignBuilder, SymbolNode], None]:
    def add(builder: ForeignBuilder, node: SymbolNode) -> None:
        getattr(builder, method)(node.inputs[0], node.name, change(node.number("scalar", 0.0)))

    return add


def _dropout(builder: ForeignBuilder, node: SymbolNode) -> None:
    if node.word("mode", "training") != "training":
        raise _refuse(builder, node, f"of mode {node.word('mode', '')}")
    builder.dropout(node.inputs[0], node.name, node.number("p", 0.5))


def _concat(builder: ForeignBuilder, node: SymbolNode) -> None:
    if node.whole("dim", 1) % (len(builder.shape(node.inputs[0])) + 1) != 1:
        raise _refuse(builder, node, f"along axis {node.whole('dim', 1)}")
    builder.concat(node.inputs, node.name)


def _sum(builder: ForeignBuilder, node: SymbolNode) -> None:
    builder.add(*node.inputs, node.name)


def _alias(builder: ForeignBuilder, node: SymbolNode) -> None:
    builder.alias(node.inputs[0], node.name)


def _pooling(builder: ForeignBuilder, node: SymbolNode) -> None:
    kind = node.word("pool_type", "max")
    if node.flag("global_pool", False):
        if kind != "avg":
            raise UserError(f"{builder.source}: {node.name} is a global {kind} pooling; only averages are known")
        builder.global_pool(node.inputs[0], node.name)
        return
    if node.word("pooling_convention", "valid") != "valid" or not node.flag("count_include_pad", True):
        raise UserError(f"{builder.source}: {node.name} pools in a way that no known network does")
    builder.pool(
        node.inputs[0],
        node.name,
        kind,
        _square(builder, node, "kernel", 1),
        _square(builder, node, "stride", 1),
        _square(builder, node, "pad", 0),
    )


def _clip(builder: ForeignBuilder, node: SymbolNode) -> None:
    if (node.number("a_min", 0), node.number("a_max", 0)) != (0, 6):
        raise UserError(f"{builder.source}: {node.name} clips to other bounds than 0 and 6")
    builder.activation(node.inputs[0], node.name, "relu6")


def _norm_step(what: str) -> Callable[[ForeignBuilder, SymbolNode], None]:
    def add(builder: ForeignBuilder, node: SymbolNode) -> None:
        if what in _REDUCTIONS:
            axes, is_kept = node.lengths("axis", ()), node.flag("keepdims", False)
            if axes not in _REDUCTIONS[what] or (what == "sums" and not is_kept) or node.flag("exclude", False):
                raise _refuse(builder, node, f"over axes {axes}")
        builder.norm_step(node.name, what, *node.inputs)

    return add


def _product(builder: ForeignBuilder, node: SymbolNode) -> None:
    builder.product(*node.inputs, node.name)


SYMBOL_READERS: dict[str, Callable[[ForeignBuilder, SymbolNode], None]] = {
    **dict.fromkeys(("Convolution", "Convolution_v1"), _conv),
    "BatchNorm": _batch_norm,
    "BatchNorm_v1": _batch_norm,
    "LeakyReLU": _leaky_relu,
    "Activation": lambda builder, node: builder.activation(node.inputs[0], node.name, node.word("act_type", "")),
    "relu": lambda builder, node: builder.activation(node.inputs[0], node.name, "relu"),
    "sigmoid": lambda builder, node: builder.activation(node.inputs[0], node.name, "sigmoid"),
    "tanh": lambda builder, node: builder.activation(node.inputs[0], node.name, "tanh"),
    "FullyConnected": _fully_connected,
    **dict.fromkeys(("Flatten", "flatten"), lambda builder, node: builder.flatten(node.inputs[0], node.name)),
    "Dropout": _dropout,
    **dict.fromkeys(
        ("elemwise_add", "broadcast_add", "broadcast_plus", "_plus", "_Plus", "_add", "ElementWiseSum", "add_n"), _sum
    ),
    **dict.fromkeys(("broadcast_mul", "elemwise_mul", "_mul", "_Mul"), _product),
    **dict.fromkeys(("Concat", "concat"), _concat),
    **dict.fromkeys(("Pooling", "Pooling_v1"), _pooling),
    "clip": _clip,
    "sum": _norm_step("sums"),
    "sqrt": _norm_step("norms"),
    "mean": _norm_step("mean"),
    "broadcast_div": _norm_step("ratio"),
    **dict.fromkeys(("_minus_scalar", "_MinusScalar"), _scalar("subtract")),
    **dict.fromkeys(("_plus_scalar", "_PlusScalar"), _scalar("subtract", lambda number: -number)),
    **dict.fromkeys(("_mul_scalar", "_MulScalar"), _scalar("multiply")),
    **dict.fromkeys(("_div_scalar", "_DivScalar"), _scalar("multiply", lambda number: 1 / number)),
    **dict.fromkeys(("identity", "_copy", "BlockGrad", "stop_gradient"), _alias),
}
