"""What MXNet's ONNX exporter writes that ONNX does not allow, and what its files do not say.

A fully connected layer whose symbol does not spell ``flatten`` out becomes a Flatten of all axes but the last, which
its weight does not fit, and a Reshape to a shape computed from the input's; MXNet flattens all axes of an image. Slopes
of a PReLU are [C] (see ``arithmetic``). ``fix_gamma``, with which MXNet computes a BatchNorm as if its gamma were 1,
is dropped, and the stored gamma is written (``matching.fixed_gammas`` settles it). A
Dropout becomes an Identity of its name.
"""

from __future__ import annotations

import onnx
from onnx import helper

GRAPH_NAME = "mxnet_converted_model"
_RESHAPED = ("Concat", "Slice", "Shape")  # how the shape of the last Reshape is computed, from its end


def is_of_mxnet(graph: onnx.GraphProto) -> bool:
    """Tell whether MXNet's exporter wrote the graph."""
    return graph.name == GRAPH_NAME


def mend(graph: onnx.GraphProto) -> None:
    """Turn the exporter's fully connected layers into Flatten and Gemm, and its dropouts into Dropout, in place."""
    if not is_of_mxnet(graph):
        return
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "Identity" and node.output[0].startswith("dropout"):
            node.op_type = "Dropout"
        if node.op_type != "Reshape" or len(node.input) != 2:
            continue
        gemm = makers.get(node.input[0])
        flatten = makers.get(gemm.input[0]) if gemm is not None and gemm.op_type == "Gemm" else None
        if flatten is None or flatten.op_type != "Flatten" or _axis(flatten) != -1:
            continue
        if _origin(node.input[1], makers) == flatten.input[0]:
            flatten.attribute[0].CopyFrom(helper.make_attribute("axis", 1))
            node.op_type = "Identity"
            del node.input[1]


def _axis(flatten: onnx.NodeProto) -> int:
    return flatten.attribute[0].i if len(flatten.attribute) == 1 and flatten.attribute[0].name == "axis" else 1


def _origin(name: str, makers: dict[str, onnx.NodeProto]) -> str:
    """Return the value from whose shape the shape ``name`` is computed; empty if it is computed in another way."""
    for op in _RESHAPED:
        node = makers.get(name)
        if node is None or node.op_type != op or not node.input:
            return ""
        name = node.input[0]
    return name
