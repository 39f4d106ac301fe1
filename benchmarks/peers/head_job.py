"""Code shared by the workers of the head benchmark: batches and further ranks. Needs only numpy."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.protocol import Contestant, serve

SCALE, MARGIN = 64.0, 0.5  # ArcFace
UPDATE = {
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "fc7_lr_mult": 1.0,
    "fc7_wd_mult": 1.0,
    "optimizer": "sgd",
}
SEED = 7
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def embeddings_of(job: dict[str, Any], rank: int) -> np.ndarray:
    """Return the initial embeddings of a rank's part of the batch, float32 [batch / ranks, E]."""
    part = job["size"] // job["ranks"]
    values = np.random.default_rng(SEED).standard_normal((job["size"], job["emb_size"]), np.float32)
    return np.ascontiguousarray(values[rank * part : (rank + 1) * part])


def labels_of(job: dict[str, Any], rank: int, step: int) -> np.ndarray:
    """Return the labels of a rank's part of the batch in a step, int32 [batch / ranks]."""
    part = job["size"] // job["ranks"]
    labels = np.random.default_rng([SEED, step]).integers(0, job["num_classes"], job["size"], np.int32)
    return labels[rank * part : (rank + 1) * part]


def join_ranks(job: dict[str, Any], module: str) -> int:
    """Set up this process as a rank and, on rank 0, start the others; return the rank.

    The others run ``python -m module JOB RANK`` and take steps as long as rank 0 does.
    """
    rank = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if rank == 0 and job["ranks"] > 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(job["ranks"]))
        for other in range(1, job["ranks"]):
            command = [sys.executable, "-m", module, json.dumps(job), str(other)]
            subprocess.Popen(command, env={**os.environ, "RANK": str(other), "LOCAL_RANK": str(other)})
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))  # no rank outlives rank 0
    return rank


def serve_ranks(build: Callable[[dict[str, Any]], Contestant]) -> None:
    """Serve the benchmark on rank 0; on other ranks, whose job is on the command line, take steps for ever."""
    if len(sys.argv) == 1:
        serve(build)
    contestant = build(json.loads(sys.argv[1]))
    while True:
        contestant.step()
