"""The base class of all iterators of training batches."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from data.loading.batch_reader import BatchReader
from data.rejected import Rejection


@dataclass(frozen=True)
class Batch:
    """One rank's part of a global batch.

    Attributes:
        step: number of the global batch, from 0.
        epoch: epoch of the global batch's first image.
        position: position of this part's first image in the sample stream.
        images: uint8 [B, size, size, 3], RGB. A view of the loader's buffer, valid until the second call of
            ``next`` after the one that returned it; copy it to keep it longer.
        labels: int32 [B].
        indices: numbers of the images in the source, int64 [B].
    """

    step: int
    epoch: int
    position: int
    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


class Batches:
    """Iterator of ``Batch``; use it as a context manager, or call ``close``.

    Attributes:
        wait_seconds: total time spent in ``next``: how long training has waited for data.
    """

    def __init__(self, reader: BatchReader) -> None:
        """Take ownership of ``reader``: ``close`` closes it too."""
        self.wait_seconds = 0.0
        self._reader = reader
        self._rejected: list[Rejection] = []
        self._last: Batch | None = None

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        start = time.perf_counter()
        try:
            batch = self._next_batch()
        except BaseException:
            self.close()
            raise
        self.wait_seconds += time.perf_counter() - start
        self._last = batch
        return batch

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers. May be called twice."""
        self._reader.close()

    def spare_batch(self) -> Batch:
        """Return what a rank whose ``next`` failed brings to a step that all ranks will discard.

        It is the batch before, so that the moving statistics of BatchNorm, the only trace of the step, see real images;
        a black one if there is none.
        """
        if self._last is not None:
            return self._last
        images = self._reader.blank_images()
        return Batch(0, 0, 0, images, np.zeros(len(images), np.int32), np.zeros(len(images), np.int64))

    def take_rejected(self) -> list[Rejection]:
        """Return the bad images that were left out since the last call; one may occur several times."""
        rejected, self._rejected = self._rejected, []
        return rejected

    def read_state(self) -> dict[str, np.ndarray]:
        """Return the state that a snapshot keeps besides step and position."""
        return {}

    def _next_batch(self) -> Batch:
        """Return the next batch, or raise StopIteration."""
        raise NotImplementedError
