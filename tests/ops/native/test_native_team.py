"""All kernels share one team of threads, whichever of OneFlow's threads they are called on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# Kernels on a thread of OneFlow's and on Python's, at the same time on three threads more.
SCRIPT = """
import os, threading
import numpy as np
from ops import flow
from ops.native.rows import NativeRows
count = lambda: len(os.listdir("/proc/self/task"))
source = np.arange(6000 * 64, dtype=np.float32).reshape(6000, 64)
(flow.ones(2, 2) + 1).numpy()
before = count()
def take(seed):
    rows, order = np.empty_like(source), np.random.default_rng(seed).permutation(6000)
    for _ in range(50):
        NativeRows().select(source, order, rows)
        assert (rows == source[order]).all()
threads = [threading.Thread(target=take, args=(seed,)) for seed in range(3)]
for thread in threads: thread.start()
products = [flow.matmul(flow.ones(300, 200), flow.ones(200, 100)).numpy() for _ in range(50)]
for thread in threads: thread.join()
take(3)
assert all((product == 200).all() for product in products)
print(count() - before)
"""


def count_new_threads(team: int) -> int:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(team)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("team", [1, 2, 5])
def test_callers_share_one_team(native: None, team: int) -> None:
    # A team is a leader, which is a separate thread, and team - 1 others; for one thread the caller needs no leader.
    assert count_new_threads(team) == (team if team > 1 else 0)
