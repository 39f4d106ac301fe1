"""The base class of contestants that deliver batches of images and may prefetch them.

Processor time is measured beside wall time: it is the cost of an image, independent of the machine's other load.
"""

from __future__ import annotations

import contextlib
import os
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.protocol import Contestant


def child_processes() -> list[int]:
    """Return the process ids of this process's children."""
    children = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # the process has ended
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                children += [int(entry.name)] * (int(parent) == os.getpid())
    return children


def processor_seconds(children: list[int]) -> float:
    """Return the processor time used so far by this process and its children, including all threads."""
    clocks = (~child << 3 | 2 for child in children)  # Linux's ids of the processor clocks of other processes
    return time.process_time() + sum(map(time.clock_gettime, clocks))


class Delivery(Contestant):
    """A turn yields two numbers: mean wall seconds and mean processor seconds per batch.

    Attributes:
        ahead: batches that may be prefetched at the start of a turn; they are not counted.
    """

    ahead = 0

    def __init__(self, job: dict[str, Any]) -> None:
        self._batches_an_epoch = -(-job["num_images"] // job["size"])

    @abstractmethod
    def deliver(self) -> Any:
        """Wait for the next batch, [B, 3, 112, 112] with pixels 0..255, and return it in the framework's own type."""

    @abstractmethod
    def to_numpy(self, batch: Any) -> np.ndarray:
        """Return a batch as an array."""

    def step(self) -> list[float]:
        """Take one batch."""
        self.deliver()
        return []

    def check(self, steps: int) -> list[float]:
        """Return the mean pixel of about an epoch, which neither shuffling nor mirroring changes."""
        batches = (self.to_numpy(self.deliver()) for _ in range(self._batches_an_epoch))
        return [float(np.mean([batch.mean(dtype=np.float64) for batch in batches]))]

    def measure(self, seconds: float) -> list[float]:
        """Return the mean wall and processor seconds per batch, over the batches that begin within ``seconds``."""
        children = child_processes()
        for _ in range(self.ahead):
            self.step()
        start, used, batches = time.perf_counter(), processor_seconds(children), 0
        while time.perf_counter() - start < seconds:
            self.step()
            batches += 1
        return [(time.perf_counter() - start) / batches, (processor_seconds(children) - used) / batches]
