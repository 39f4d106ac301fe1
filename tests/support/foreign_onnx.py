"""ONNX models in the style of other programs, written node by node from a description."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from backbones.graph.network_graph import NetworkGraph
from interchange.matching.fold_batch_norm import fold_batch_norms


def torch_style(
    graph: NetworkGraph, arrays: Mapping[str, np.ndarray], folded: bool, eps: float = 1e-5
) -> onnx.ModelProto:
    """Return the graph that ``torch.onnx.export`` writes for such a network.

    Names are numbers, there is no preprocessing, eps differs; Reshape flattens; unless constants are folded, a node
    adds the axes of the slopes; the first term of each sum is the shortcut.
    """
    if folded:
        graph, arrays = fold_batch_norms(graph, arrays)
    nodes, initializers, numbers = [], [], {}

    def constant(values: np.ndarray) -> str:
        name = f"onnx::Const_{len(initializers)}"
        initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(op: str, inputs: list[str], **attrs: object) -> str:
        output = f"/{op}_{len(nodes)}.{len(nodes)}_output_0"
        nodes.append(helper.make_node(op, inputs, [output], name=output[:-9], **attrs))
        return output

    for node in graph.nodes:
        x = [numbers[name] for name in node.inputs]
        own = {part: arrays[name] for part, name in node.arrays.items()}
        attrs = node.attrs
        if node.op == "input":
            value = "input.1"
            image = helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", *graph.shapes[node.name]])
        elif node.op in ("scale_shift", "dropout"):
            value = x[0]
        elif node.op == "conv":
            value = add(
                "Conv",
                [*x, *(constant(own[part]) for part in ("weight", "bias") if part in own)],
                kernel_shape=[attrs["kernel"]] * 2,
                strides=[attrs["stride"]] * 2,
                pads=[attrs["pad"]] * 4,
                dilations=[1, 1],
                group=attrs["groups"],
            )
        elif node.op == "batch_norm":
            parts = ("gamma", "beta", "moving_mean", "moving_var")
            if attrs["fix_gamma"]:
                own["gamma"] = np.ones_like(own["gamma"])
            value = add("BatchNormalization", [*x, *(constant(own[part]) for part in parts)], epsilon=eps, momentum=0.9)
        elif node.op == "prelu":
            slope = own["slope"].reshape(-1, 1, 1) if folded else own["slope"]
            name = constant(slope)
            value = add("PRelu", [*x, name if folded else add("Unsqueeze", [name], axes=[1, 2])])
        elif node.op == "add":
            value = add("Add", x[::-1])
        elif node.op == "flatten":
            value = add("Reshape", [*x, constant(np.array([-1, graph.shapes[node.name][0]]))])
        elif node.op == "fully_connected":
            value = add("MatMul", [*x, constant(own["weight"].T.copy())])
            value = add("Add", [constant(own["bias"]), value])
        numbers[node.name] = value
    output = helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", graph.embedding_size])
    body = helper.make_graph(nodes, "torch-jit-export", [image], [output], initializers)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
