#!/usr/bin/env bash
# MXNet 1.9.1, recordio.pack: whole numbers in a label become float32 without a warning. Record 0 of
# InsightFace's train.rec holds two record numbers there; above 16,777,216 (WebFace42M) they are rounded.
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
from mxnet import recordio  # noqa: E402

print("MXNet", mx.__version__, "- record 0: number of the first person's record, and one past the last person's")
kept = []
for images, people in ((5822653, 85742), (42474557, 2059906)):
    numbers = [images + 1, images + 1 + people]
    header, _ = recordio.unpack(recordio.pack(recordio.IRHeader(2, numbers, 0, 0), b""))
    found = [int(number) for number in header.label]
    kept.append(found == numbers)
    print(f"expected: {numbers}  seen: {found}")
key = recordio.unpack(recordio.pack(recordio.IRHeader(0, 1.0, 42474557, 0), b""))[0].id
print("expected: the key 42474557, a whole number in the same header  seen:", key)
sys.exit(0 if kept == [True, False] and key == 42474557 else "the behaviour has changed")
EOF
