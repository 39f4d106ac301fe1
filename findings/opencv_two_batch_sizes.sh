#!/usr/bin/env bash
# OpenCV 4.11, dnn: a net with a residual block (two branches of convolution and BatchNorm, added) gives
# wrong embeddings from its second batch size on, without a warning. ResNets with projections have such blocks.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet numpy==2.2.6 onnx==1.19.1 opencv-python-headless==4.11.0.86
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import sys

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
nodes, constants = [], {}
for branch in "ab":
    constants[branch + "w"] = rng.normal(0, 0.3, (4, 3, 3, 3))
    constants |= {branch + "g": rng.uniform(0.5, 1.5, 4), branch + "b": rng.normal(size=4)}
    constants |= {branch + "m": rng.normal(size=4), branch + "v": rng.uniform(0.5, 1.5, 4)}
    shape = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes.append(helper.make_node("Conv", ["data", branch + "w"], [branch + "c"], **shape))
    nodes.append(helper.make_node("BatchNormalization", [branch + name for name in "cgbmv"], [branch]))
nodes.append(helper.make_node("Add", ["a", "b"], ["fc1"]))
data = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 8, 8])
fc1 = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, ["N", 4, 8, 8])
tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()]
graph = helper.make_graph(nodes, "block", [data], [fc1], tensors)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model)
images = rng.normal(size=(4, 3, 8, 8)).astype(np.float32)


def embed(sizes, fusion=True):
    """Run one net on batches of these sizes; return the output of the last."""
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
    net.enableFusion(fusion)
    for size in sizes:
        net.setInput(images[:size])
        output = net.forward().copy()
    return output


print("OpenCV", cv2.__version__, "- largest difference from a net that has seen only the last batch size")
print("expected: rounding, below 1e-4, whatever the net computed before")
seen = True
for sizes in ((4, 1), (1, 4), (2, 3)):
    right = embed(sizes[1:])
    fused, plain = (np.abs(embed(sizes, fusion) - right).max() for fusion in (True, False))
    print(f"seen: batches of {sizes[0]}, then {sizes[1]}: {fused:.3g}; with enableFusion(False) {plain:.1g}")
    seen = seen and not fused < 0.01 and plain < 1e-4
sys.exit(0 if seen else "the behaviour has changed")
EOF
