"""The epoch order: an endless stream of training images, a new permutation for each epoch."""

from __future__ import annotations

import numpy as np


class SampleStream:
    """Image numbers in training order; a function of (num_images, seed) alone.

    Epoch e is a permutation drawn from a Philox generator with the key (seed, e). A global batch is a run of the
    stream and may span two epochs: every image occurs exactly once per epoch, all batches have the same size, and a
    run resumes from its position alone.
    """

    def __init__(self, num_images: int, seed: int) -> None:
        self.num_images = num_images
        self.seed = seed
        self._orders: dict[int, np.ndarray] = {}

    def order(self, epoch: int) -> np.ndarray:
        """Return the permutation of epoch ``epoch``, int32 or int64 [num_images]."""
        if epoch not in self._orders:
            dtype = np.int32 if self.num_images < 1 << 31 else np.int64
            generator = np.random.Generator(np.random.Philox(key=[self.seed % (1 << 64), epoch]))
            order = generator.permutation(np.arange(self.num_images, dtype=dtype))
            self._orders = {**{e: o for e, o in self._orders.items() if e == epoch - 1}, epoch: order}
        return self._orders[epoch]

    def take(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the image numbers and epochs at stream positions start..stop-1, int64 [stop - start] each."""
        indices, epochs = [], []
        while start < stop:
            epoch, first = divmod(start, self.num_images)
            last = min(self.num_images, first + stop - start)
            indices.append(self.order(epoch)[first:last].astype(np.int64))
            epochs.append(np.full(last - first, epoch, np.int64))
            start += last - first
        return np.concatenate(indices), np.concatenate(epochs)
