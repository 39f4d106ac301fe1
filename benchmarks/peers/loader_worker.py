"""This project's loader: shuffled, mirrored batches of uint8 [B, 112, 112, 3]."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from benchmarks.peers.delivery import Delivery
from benchmarks.peers.protocol import serve
from data.loading.batches import Batch
from data.loading.loader import BatchLoader
from data.loading.options import DataOptions
from data.sources.ofrecord import OFRecordSource


class OurLoader(Delivery):
    """The loader, configured as in training."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        cv2.setNumThreads(1)  # use one core only
        source = OFRecordSource(job["parts"], job["num_classes"])
        self._loader = BatchLoader(source, DataOptions(job["size"], job["workers"]))
        self.ahead = 2 * job["workers"] + 2
        self.label = f"ours, {job['workers']} workers"

    def deliver(self) -> Batch:
        """Return the next batch."""
        return next(self._loader)

    def to_numpy(self, batch: Batch) -> np.ndarray:
        """Return the images of the batch."""
        return batch.images


if __name__ == "__main__":
    serve(OurLoader)
