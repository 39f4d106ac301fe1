#!/usr/bin/env bash
# ncnn 1.0.20261020: ncnn.Mat(array) reads the memory of a NumPy array in a row, whatever the array's strides are.
# An image turned from rows of pixels into planes by transpose() becomes other numbers, without a message.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps numpy==1.26.4 ncnn==1.0.20261020
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import sys

import ncnn
import numpy as np

image = np.random.default_rng(0).random((112, 112, 3), np.float32)  # rows, columns, RGB
planes = image.transpose(2, 0, 1)
print("ncnn", ncnn.__version__, "- a float32 array [3, 112, 112] that transpose() made of an image")
print("expected: numpy.array(ncnn.Mat(array).clone()) has the values of the array, or Mat refuses it")
seen = np.array(ncnn.Mat(planes).clone())
contiguous = np.ascontiguousarray(planes)  # kept, because a Mat does not keep the memory that it looks at
copied = np.array(ncnn.Mat(contiguous).clone())
as_it_lies = np.array_equal(seen.ravel(), image.ravel())
print(f"seen: shape {seen.shape}, {np.mean(seen == planes):.1%} of the values in their places")
print("seen: the values are the image's in the order of memory:", as_it_lies)
print("seen: right after numpy.ascontiguousarray:", np.array_equal(copied, planes))
as_before = as_it_lies and not np.array_equal(seen, planes) and np.array_equal(copied, planes)
sys.exit(0 if as_before else "the behaviour has changed")
EOF
