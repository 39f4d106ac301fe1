"""The minimum work of a head: the three matrix products of a step, and copies of the bytes that it moves, in numpy.

This is the work of one rank, on its threads. A step's rows and momentum are read and updated: gathered and scattered
back if they are a sample, otherwise in place.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.peers.head_job import SEED
from benchmarks.peers.protocol import Contestant, serve


class HeadLimit(Contestant):
    """Rows, momentum, a gradient, embeddings and logits of the right shapes."""

    label = "numpy: products and copies"

    def __init__(self, job: dict[str, Any]) -> None:
        rng = np.random.default_rng(SEED)
        total, width = -(-job["num_classes"] // job["ranks"]), job["emb_size"]
        self.sampled = job["sample_ratio"] < 1
        count = math.ceil(total * job["sample_ratio"])
        self.chosen = np.sort(rng.choice(total, count, replace=False)) if self.sampled else None
        self.bank = np.full((total, width), 0.01, np.float32)
        self.momentum = np.zeros_like(self.bank)
        self.momentum[:] = 0.01  # allocates the memory
        self.rows = np.full((count, width), 0.01, np.float32)
        self.embeddings = np.full((job["size"], width), 0.1, np.float32)
        self.logits = np.full((job["size"], count), 0.1, np.float32)

    def step(self) -> list[float]:
        """Return nothing to compare."""
        bank = self.rows if self.sampled else self.bank
        if self.sampled:
            np.take(self.bank, self.chosen, axis=0, out=self.rows, mode="clip")
        np.dot(self.embeddings, bank.T, out=self.logits)
        np.dot(self.logits, bank)
        gradient = np.dot(self.logits.T, self.embeddings)
        if self.sampled:
            np.take(self.momentum, self.chosen, axis=0, out=self.rows, mode="clip")
            self.momentum[self.chosen] = gradient
            self.bank[self.chosen] = self.rows
        else:
            np.copyto(self.momentum, gradient)
            np.copyto(self.bank, self.momentum)
        return []


if __name__ == "__main__":
    serve(HeadLimit)
