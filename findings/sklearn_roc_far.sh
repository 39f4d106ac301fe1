#!/usr/bin/env bash
# scikit-learn 1.7.2, roc_curve: by default it leaves points of the curve out, so that the usual "take the
# point nearest to this FAR" (InsightFace's ijb_11.py does) gives another FAR and another TAR.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet numpy==2.2.6 scipy==1.15.3 scikit-learn==1.7.2
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import sys

import numpy as np
import sklearn
from sklearn.metrics import roc_curve

rng = np.random.default_rng(0)
scores = np.concatenate([rng.normal(0.5, 0.1, 3000), rng.normal(0, 0.1, 100000)])
same = np.arange(103000) < 3000


def at(far, **options):
    """Return FAR and TAR of the nearest point, found as InsightFace's ijb_11.py finds it."""
    fpr, tpr, _ = (values[::-1] for values in roc_curve(same, scores, **options))
    nearest = np.argmin(np.abs(fpr - far))
    return round(float(fpr[nearest]), 5), round(float(tpr[nearest]), 5)


print("scikit-learn", sklearn.__version__, "- 100000 pairs of two people, 3000 of one, no equal scores")
print("expected: every multiple of 0.00001 is reached as FAR, and the TAR belongs to it")
seen = True
for far in (0.001, 0.1):
    default, complete = at(far), at(far, drop_intermediate=False)
    print(f"seen: FAR {far}: (FAR, TAR) {default} by default, {complete} with drop_intermediate=False")
    seen = seen and complete[0] == far and default[0] > far and default[1] > complete[1]
sys.exit(0 if seen else "the behaviour has changed")
EOF
