#!/usr/bin/env bash
# onnxruntime 1.23.2, quantize_static: the scale of tensor T is stored as "T_scale", even if the model has a
# constant of this name. Then the model's constant is taken as the scale, without a warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet numpy==2.2.6 onnx==1.19.1 onnxruntime==1.23.2
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import logging
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

logging.disable(logging.WARNING)
weight = np.random.default_rng(0).normal(0, 0.1, (64, 64)).astype(np.float32)
images = np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32)


class Reader(CalibrationDataReader):
    def __init__(self):
        self.batches = iter([{"data": images}])

    def get_next(self):
        return next(self.batches, None)


def embed(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"data": images})[0]


def cosine(constant):
    """Return the lowest cosine of float and int8 embeddings, the factor that makes `attn` named `constant`."""
    steps = [("MatMul", "data", "w", "raw"), ("Mul", "raw", constant, "attn"), ("MatMul", "attn", "v", "fc1")]
    nodes = [helper.make_node(op, [left, right], [output]) for op, left, right, output in steps]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 64])] for name in ("data", "fc1")]
    tensors = {constant: np.array(0.177, np.float32), "w": weight, "v": weight[::-1].copy()}
    tensors = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    graph = helper.make_graph(nodes, "net", *ends, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, "float.onnx")
    quantize_static("float.onnx", "int8.onnx", Reader())
    left, right = embed("float.onnx"), embed("int8.onnx")
    return float(((left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)).min())


factor, scale = cosine("attn_factor"), cosine("attn_scale")
print("onnxruntime", onnxruntime.__version__, "- a tensor `attn`, made by a factor of 0.177 under two names")
print("expected: the name of a constant does not change the result")
print(f"seen: lowest cosine of float and int8: {factor:.5f} with attn_factor, {scale:.5f} with attn_scale")
sys.exit(0 if factor > 0.999 and scale < 0.95 else "the behaviour has changed")
EOF
