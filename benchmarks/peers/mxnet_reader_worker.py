"""MXNet's ImageRecordIter: shuffled, mirrored batches of uint8 [B, 3, 112, 112], its fastest output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from benchmarks.peers.delivery import Delivery
from benchmarks.peers.protocol import serve


class MXNetReader(Delivery):
    """MXNet's iterator, restarted within a turn when an epoch ends."""

    ahead = 4  # its prefetch buffer

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(job)
        records = Path(job["records"])
        self._iterator = mx.io.ImageRecordIter(
            path_imgrec=str(records),
            path_imgidx=str(records.with_suffix(".idx")),
            data_shape=(3, 112, 112),
            batch_size=job["size"],
            shuffle=True,
            rand_mirror=True,
            dtype="uint8",
            preprocess_threads=job["preprocess_threads"],
        )
        self.label = f"MXNet {mx.__version__} ImageRecordIter, {job['preprocess_threads']} threads"

    def deliver(self) -> mx.nd.NDArray:
        """Return the next batch."""
        images = self._next().data[0]
        images.wait_to_read()
        return images

    def to_numpy(self, batch: mx.nd.NDArray) -> np.ndarray:
        """Return a copy."""
        return batch.asnumpy()

    def _next(self) -> mx.io.DataBatch:
        try:
            return self._iterator.next()
        except StopIteration:
            self._iterator.reset()
            return self._iterator.next()


if __name__ == "__main__":
    serve(MXNetReader)
