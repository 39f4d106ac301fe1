#!/usr/bin/env bash
# MNN 3.6.1, conversion with --fp16: weights are cut off to float16, towards zero, not rounded to the
# nearest. The largest error doubles, and all weights shrink.
# The converter is called directly, because the command mnnconvert first installs another package with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet numpy==2.2.6 onnx==1.19.1
"$work/venv/bin/python" -m pip install --quiet --no-deps MNN==3.6.1
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version

import _tools  # MNN's converter
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

weight = np.random.default_rng(0).normal(0, 0.1, (16, 3, 3, 3)).astype(np.float32)
data = helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 8, 8])
fc1 = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 16, 6, 6])
node = helper.make_node("Conv", ["data", "w"], ["fc1"])
graph = helper.make_graph([node], "net", [data], [fc1], [numpy_helper.from_array(weight, "w")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, "net.onnx")
arguments = ["-f", "ONNX", "--modelFile", "net.onnx", "--MNNModel", "net.mnn", "--fp16", "--bizCode", "net"]
_tools.mnnconvert(["mnnconvert", *arguments])
with open("net.mnn", "rb") as file:
    stored = file.read()

nearest = weight.astype(np.float16)
away = np.abs(nearest.astype(np.float32)) > np.abs(weight)
cut = np.where(away, np.nextafter(nearest, np.float16(0)), nearest)
print("MNN", version("MNN"), "- the 432 weights of a convolution, as the converted file holds them")
print("expected: the nearest float16 of each weight, as numpy's astype gives")
print(f"seen: nearest {nearest.tobytes() in stored}, cut off towards zero {cut.tobytes() in stored}")
for name, array in (("nearest", nearest), ("cut off", cut)):
    error = np.abs(array.astype(np.float32)) / np.abs(weight) - 1
    print(f"  relative error of {name}: mean {error.mean():.1e}, largest {np.abs(error).max():.1e}")
sys.exit(0 if cut.tobytes() in stored and nearest.tobytes() not in stored else "the behaviour has changed")
EOF
