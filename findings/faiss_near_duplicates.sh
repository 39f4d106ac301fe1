#!/usr/bin/env bash
# faiss 1.12.0, IndexFlatL2: a query gets another distance when 20 or more are asked at once. From 20 on,
# it computes |a|^2 + |b|^2 - 2ab, which cancels for near-duplicates among embeddings of norm 20.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet numpy==2.2.6 faiss-cpu==1.12.0
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import sys

import faiss
import numpy as np

rng = np.random.default_rng(0)
gallery = rng.normal(size=(1000, 512)).astype(np.float32)  # norm 22, like unnormalised embeddings
queries = (gallery + rng.normal(0, 1e-3, gallery.shape)).astype(np.float32)
true = ((gallery.astype(np.float64) - queries) ** 2).sum(1)
index = faiss.IndexFlatL2(512)
index.add(gallery)


def error(count):
    """Return the largest relative error of the distance to the nearest image, of `count` queries at once."""
    distances, found = index.search(queries[:count], 1)
    assert (found[:, 0] == np.arange(count)).all()
    return float((np.abs(distances[:, 0] - true[:count]) / true[:count]).max())


few, many = error(19), error(20)
print("faiss", faiss.__version__, "- distances of images to their near-duplicates; true mean", true[:20].mean())
print("expected: the exact index gives a query one distance, whatever else is asked at the same time")
print(f"seen: largest relative error {few:.1e} with 19 queries at once, {many:.1e} with 20")
sys.exit(0 if few < 1e-5 and many > 0.1 else "the behaviour has changed")
EOF
