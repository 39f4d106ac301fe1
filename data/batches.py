"""What all iterators of training batches have in common."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from data.batch_reader import BatchReader


@dataclass(frozen=True)
class Batch:
    """One rank's part of a global batch.

    Attributes:
        step: number of the global batch, from 0.
        epoch: epoch of the global batch's first image.
        position: place of this part's first image in the sample stream.
        images: uint8 [B, size, size, 3], RGB. The loader's own memory, which it fills anew in the next but one call of
            ``next``: until then the contents stay, afterwards only a copy has them.
        labels: int32 [B].
    """

    step: int
    epoch: int
    position: int
    images: np.ndarray
    labels: np.ndarray


class Batches:
    """Iterator of ``Batch``; use it as a context manager, or call ``close``.

    Attributes:
        wait_seconds: time so far spent in ``next``, which is what training waited for its batches.
    """

    def __init__(self, reader: BatchReader) -> None:
        """Take what reads the images; it is closed with this."""
        self.wait_seconds = 0.0
        self._reader = reader

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        start = time.perf_counter()
        try:
            batch = self._take()
        except BaseException:
            self.close()
            raise
        self.wait_seconds += time.perf_counter() - start
        return batch

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers. Closing twice does no harm."""
        self._reader.close()

    def read_state(self) -> dict[str, np.ndarray]:
        """Return what a snapshot keeps of the batches besides step and position."""
        return {}

    def _take(self) -> Batch:
        """Return the next batch, or raise StopIteration."""
        raise NotImplementedError
