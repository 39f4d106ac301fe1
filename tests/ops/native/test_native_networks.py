"""Whole networks on our kernels and on OneFlow's own, each in a separate process, against float64."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("run_network.py")
KINDS = ("gradient", "statistic", "embeddings")


def run_network(name: str, dtypes: list[str], switch: str, folder: Path) -> tuple[list[dict], dict[str, int]]:
    """Return the arrays of each data type, and how often each kernel was called, from one process."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "INSIGHTFACE_NATIVE": switch}
    command = [sys.executable, str(SCRIPT), name, str(folder), *dtypes]
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return [dict(np.load(folder / f"{dtype}.npz")) for dtype in dtypes], json.loads(result.stdout.splitlines()[-1])


def errors(arrays: dict[str, np.ndarray], truth: dict[str, np.ndarray], kind: str) -> np.ndarray:
    """Relative error of each array of a kind; one that is next to nothing is measured against the largest."""
    keys = [key for key in truth if key.startswith(kind)]
    floor = 1e-3 * max(np.linalg.norm(truth[key]) for key in keys)
    return np.array([np.linalg.norm(arrays[k] - truth[k]) / max(np.linalg.norm(truth[k]), floor) for k in keys])


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("small fresnet", {"gradient": 1e-4, "statistic": 1e-5, "embeddings": 1e-5}),
        # Fifty layers with kinks: float32 gradients of y1's first layers are right to two digits with any kernels.
        pytest.param("y1", {"gradient": 2e-2, "statistic": 1e-4, "embeddings": 1e-5}, marks=pytest.mark.slow),
    ],
)
def test_networks_are_as_exact_as_on_oneflows_kernels(name, limits, native, tmp_path):
    (ours,), calls = run_network(name, ["float32"], "1", tmp_path)
    (stock, truth), no_calls = run_network(name, ["float32", "float64"], "0", tmp_path)
    of_others = ("insightface_", "l2_normalize", "broadcast_", "reduce_max")  # whole networks, and the head
    assert min(count for op, count in calls.items() if not op.startswith(of_others)) > 0
    assert no_calls == {}
    assert ours.keys() == stock.keys() == truth.keys()
    assert truth["embeddings"].dtype == np.float64
    for kind in KINDS:
        error, stock_error = errors(ours, truth, kind), errors(stock, truth, kind)
        assert error.max() <= limits[kind], kind
        assert np.median(error) <= 1.5 * np.median(stock_error) + 1e-6, kind
