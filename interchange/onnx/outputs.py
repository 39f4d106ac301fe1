"""The output of a file: one embedding, which may be divided by its length, beside that length."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from common.errors import UserError

# What computes the length of an embedding: |x| or (x * x).sum() ** 0.5, kept from 0, in the shape of x.
_REDUCTIONS = ("ReduceL2", "ReduceSumSquare", "ReduceSum")
_STEPS = (*_REDUCTIONS, "Pow", "Mul", "Sqrt", "Clip", "Max", "Add", "Expand", "Shape", "Unsqueeze", "Identity", "Cast")


def settle_output(graph: onnx.GraphProto, source: str) -> list[str]:
    """Make the embedding, undivided, the only output of a graph; return notes.

    Raises:
        UserError: there are several outputs, or none, that may be the embedding.
    """
    notes = []
    if len(graph.output) > 1:
        kept = [value for value in graph.output if value.type.tensor_type.shape.dim[-1:] != [_ONE]]
        if len(kept) == 1:
            left = ", ".join(repr(value.name) for value in graph.output if value.name != kept[0].name)
            notes.append(f"its output '{kept[0].name}' is taken, not {left}, which is one number per image")
            _set_output(graph, kept[0])
    if len(graph.output) != 1:
        names = ", ".join(repr(value.name) for value in graph.output)
        raise UserError(
            f"{source} has {len(graph.output)} outputs ({names}); expected the embedding alone: write it with "
            "onnx.utils.extract_model(FILE, NEW_FILE, [INPUT], [OUTPUT])"
        )
    output = graph.output[0]
    undivided = _undivided(output.name, graph)
    if undivided is not None:
        notes.append("its embeddings are divided by their length at the end, which is left out: cosines stay the same")
        value = onnx.ValueInfoProto.FromString(output.SerializeToString())
        value.name = undivided
        _set_output(graph, value)
    return notes


_ONE = onnx.TensorShapeProto.Dimension(dim_value=1)


def _set_output(graph: onnx.GraphProto, value: onnx.ValueInfoProto) -> None:
    kept = onnx.ValueInfoProto.FromString(value.SerializeToString())
    del graph.output[:]
    graph.output.append(kept)


def _undivided(output: str, graph: onnx.GraphProto) -> str | None:
    """Return the value that the output is, divided by its length; None if the output is not divided."""
    makers = {name: node for node in graph.node for name in node.output}
    last = makers.get(output)
    if last is None:
        return None
    if last.op_type == "LpNormalization":
        attrs = {attr.name: attr.i for attr in last.attribute}
        return last.input[0] if attrs.get("p", 2) == 2 and attrs.get("axis", -1) in (1, -1) else None
    if last.op_type == "Div" and last.input[1] in makers and _is_length(last.input[1], last.input[0], makers):
        return last.input[0]
    return None


def _is_length(value: str, x: str, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Tell whether ``value`` is computed from ``x`` and constants alone, as a length is."""
    kinds, waiting, seen = set(), [value], set()
    while waiting:
        name = waiting.pop()
        if name == x or name in seen or name not in makers:  # x, known already, or a constant
            continue
        seen.add(name)
        node = makers[name]
        if node.op_type not in (*_STEPS, "Constant"):
            return False
        kinds.add(node.op_type)
        waiting += node.input
    return bool(kinds & set(_REDUCTIONS))
