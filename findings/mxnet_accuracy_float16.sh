#!/usr/bin/env bash
# MXNet 1.9.1: the metric Accuracy is 0 for float16 logits that are all right, for odd classes above 2048.
# argmax returns the class in the dtype of the logits, and float16 holds no odd number above 2048.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet numpy==1.26.4 requests==2.32.3 graphviz==0.8.4 setuptools==75.8.0 mxnet==1.9.1
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import sys

import numpy as np

np.bool = np.bool_  # MXNet 1.9.1 uses this name, which NumPy 1.24 removed
import mxnet as mx  # noqa: E402

classes = np.array([2049, 4097, 5001, 6003, 7001, 8003, 9001, 9999])
logits = np.zeros((8, 10000), np.float16)
logits[np.arange(8), classes] = 1
print("MXNet", mx.__version__, "- 8 rows of logits, each largest at the right one of 10000 classes")
print("expected: argmax", classes.tolist(), "and accuracy 1.0")
accuracy = {}
for dtype in ("float16", "float32"):
    metric = mx.metric.Accuracy()
    rows = mx.nd.array(logits, dtype=dtype)
    metric.update([mx.nd.array(classes)], [rows])
    accuracy[dtype] = metric.get()[1]
    found = mx.nd.argmax(rows, axis=1).asnumpy().astype(int).tolist()
    print(f"seen: {dtype}: argmax {found}, accuracy {accuracy[dtype]}")
sys.exit(0 if accuracy == {"float16": 0.0, "float32": 1.0} else "the behaviour has changed")
EOF
