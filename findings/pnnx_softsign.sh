#!/usr/bin/env bash
# pnnx and ncnn 1.0, both of 20261020: whether ncnn runs x / (1 + |x|) depends on the order in which the two are added.
# pnnx makes a Softsign of Add(Abs(x), 1), a layer that ncnn lacks, but leaves Add(1, Abs(x)) alone, which runs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps numpy==1.26.4 ncnn==1.0.20261020 pnnx==20261020 onnx==1.17.0 protobuf==5.29.5
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import ncnn
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def convert(name, order):
    """Write x / (sum of ``order``) and convert it; return ncnn's layers and, if it loads, its output's largest error."""
    nodes = [
        helper.make_node("Abs", ["x"], ["abs"]),
        helper.make_node("Add", order, ["sum"]),
        helper.make_node("Div", ["x", "sum"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(v, TensorProto.FLOAT, [1, 3, 8, 8]) for v in "xy"]
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    graph = helper.make_graph(nodes, name, values[:1], values[1:], [one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, f"{name}.onnx")
    pnnx = Path(find_spec("pnnx").origin).with_name("pnnx")  # the command in bin/ wants PyTorch
    subprocess.run([pnnx, f"{name}.onnx"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lines = Path(f"{name}.ncnn.param").read_text().splitlines()[2:]
    layers = [line.split()[0] for line in lines if line.split()[0] not in ("Input", "Split")]
    net = ncnn.Net()
    if net.load_param(f"{name}.ncnn.param") or net.load_model(f"{name}.ncnn.bin"):
        return layers, None
    x = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    with net.create_extractor() as extractor:
        extractor.input("in0", ncnn.Mat(x).clone())
        seen = np.array(extractor.extract("out0")[1])
    return layers, float(np.abs(seen - x / (1 + np.abs(x))).max())


print("pnnx 20261020, ncnn", ncnn.__version__, "- x / (1 + |x|) in ONNX, the sum written in either order")
print("expected: both load and give the same")
one_first, abs_first = convert("one_first", ["one", "abs"]), convert("abs_first", ["abs", "one"])
for text, (layers, error) in (("Add(1, |x|)", one_first), ("Add(|x|, 1)", abs_first)):
    print(f"seen: {text}: layers {layers},", "ncnn does not load it" if error is None else f"largest error {error:.1e}")
as_before = abs_first[1] is None and one_first[1] is not None and one_first[1] < 1e-6
sys.exit(0 if as_before else "the behaviour has changed")
EOF
