"""The epoch order: an endless stream of training images, a new permutation for each epoch."""

from __future__ import annotations

import numpy as np

_REPEAT_BITS = 32  # of the number that stands for an epoch and a repetition in it


class SampleStream:
    """Image numbers in training order; a function of (num_images, seed) alone.

    Epoch e is a permutation drawn from a Philox generator with the key (seed, e). A global batch is a run of the
    stream and may span two epochs: every image occurs exactly once per epoch, all batches have the same size, and a
    run resumes from its position alone.
    """

    def __init__(self, num_images: int, seed: int) -> None:
        self.num_images = num_images
        self.seed = seed
        self._orders: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}

    def order(self, epoch: int) -> np.ndarray:
        """Return the permutation of epoch ``epoch``, int32 or int64 [num_images]."""
        return self._recall(epoch)[0]

    def _recall(self, epoch: int) -> tuple[np.ndarray, np.ndarray | None]:
        if epoch not in self._orders:
            kept = {e: o for e, o in self._orders.items() if e == epoch - 1}
            self._orders = {**kept, epoch: self._draw(epoch)}
        return self._orders[epoch]

    def _draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the images of an epoch, and how often each has occurred in it before; None where it has not."""
        dtype = np.int32 if self.num_images < 1 << 31 else np.int64
        generator = np.random.Generator(np.random.Philox(key=[self.seed % (1 << 64), epoch]))
        return generator.permutation(np.arange(self.num_images, dtype=dtype)), None

    def take(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the image numbers and epochs at stream positions start..stop-1, int64 [stop - start] each.

        An image that occurs again in an epoch has another number for it, so that its augmentation is another one.
        """
        indices, epochs = [], []
        while start < stop:
            epoch, first = divmod(start, self.num_images)
            last = min(self.num_images, first + stop - start)
            order, repeats = self._recall(epoch)
            indices.append(order[first:last].astype(np.int64))
            epochs.append(np.full(last - first, epoch, np.int64))
            if repeats is not None:
                epochs[-1] += repeats[first:last] << _REPEAT_BITS
            start += last - first
        return np.concatenate(indices), np.concatenate(epochs)
