#!/usr/bin/env bash
# insightface 2.1, get_model: whether it normalises images depends on the NAMES of the file's first 8
# nodes. If the preprocessing is folded into the first convolution, as onnxsim does, images are
# normalised twice, without a warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet numpy==2.2.6 onnx==1.19.1 onnxruntime==1.23.2 \
    opencv-python-headless==4.11.0.86 scipy==1.15.3 scikit-image==0.25.2 \
    tqdm==4.67.1 requests==2.32.3
"$work/venv/bin/python" -m pip install --quiet --no-deps insightface==2.1
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import contextlib
import io
import sys

import numpy as np
import onnx
import onnxruntime
from insightface import __version__
from insightface.model_zoo import get_model
from onnx import TensorProto, helper, numpy_helper

weight = np.random.default_rng(0).normal(0, 0.1, (16, 3, 112, 112)).astype(np.float32)
image = np.random.default_rng(1).integers(0, 256, (112, 112, 3)).astype(np.uint8)


def compare(nodes, constants):
    """Write a model; return the cosine of onnxruntime's and InsightFace's embedding, and InsightFace's mean."""
    nodes = [*nodes, ("Flatten", ["conv"], "fc1", "flatten0")]
    nodes = [helper.make_node(op, inputs, [output], name=name) for op, inputs, output, name in nodes]
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 112, 112])
    fc1 = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, ["N", 16])
    tensors = [numpy_helper.from_array(np.asarray(a, np.float32), name) for name, a in constants.items()]
    graph = helper.make_graph(nodes, "net", [data], [fc1], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, "net.onnx")
    blob = image[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    providers = ["CPUExecutionProvider"]
    right = onnxruntime.InferenceSession("net.onnx", providers=providers).run(None, {"data": blob})[0][0]
    with contextlib.redirect_stdout(io.StringIO()):
        recognition = get_model("net.onnx", providers=providers)
    got = recognition.get_feat(image)[0]
    return float(right @ got / np.linalg.norm(right) / np.linalg.norm(got)), recognition.input_mean


first = [("Sub", ["data", "mean"], "a", "_minusscalar0"), ("Mul", ["a", "factor"], "b", "_mulscalar0")]
plain = [*first, ("Conv", ["b", "w"], "conv", "conv0")]
plain, mean = compare(plain, {"mean": 127.5, "factor": 1 / 127.5, "w": weight})
print("insightface", __version__, "- two files that compute the same, from images in 0..255")
print("expected: InsightFace's embedding is onnxruntime's, cosine 1, for both")
print(f"seen: cosine {plain:.3f} (input_mean {mean}) with nodes named _minusscalar0 and _mulscalar0")
bias = -weight.sum((1, 2, 3))
folded, mean = compare([("Conv", ["data", "w", "bias"], "conv", "conv0")], {"w": weight / 127.5, "bias": bias})
print(f"seen: cosine {folded:.3f} (input_mean {mean}) with both folded into the convolution")
sys.exit(0 if plain > 0.9999 and folded < 0.5 else "the behaviour has changed")
EOF
