"""Yield training batches: the same global batches on any number of ranks and workers, from any step on."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from common.errors import UserError
from data.batch_reader import BatchReader
from data.batches import Batch, Batches
from data.options import DataOptions
from data.sampler import SampleStream
from data.source import ImageSource

_IMAGES_PLANNED = 2048  # at once: NumPy takes as long for short arrays as for longer ones


@dataclass(frozen=True)
class _PlannedBatch:
    """A batch before it is requested: the arguments of ``BatchReader.request``, and the other fields of ``Batch``."""

    step: int
    epoch: int
    position: int
    labels: np.ndarray
    locations: np.ndarray
    draws: np.ndarray


class BatchLoader(Batches):
    """Endless iterator of ``Batch`` in epoch order; use it as a context manager, or call ``close``.

    A global batch is a run of consecutive positions of the sample stream, and rank r of R takes the r-th of R equal
    slices of it, so the training data does not depend on the numbers of ranks and workers.

    Args:
        source: the training images.
        options: batch size (a multiple of ``world_size``), workers, seed and augmentation.
        rank: this process, 0..world_size-1.
        world_size: number of ranks.
        start_step: number of the first batch; a run resumed there gets the batches it would have got uninterrupted.
        start_position: position of the first batch in the stream, by default start_step * global_batch_size; a run
            that resumes with another batch size gives the number of images taken so far.

    Attributes:
        steps_per_epoch: steps after which every image has been seen (num_images / global_batch_size, rounded up).

    Raises:
        UserError: the global batch size is not a positive multiple of ``world_size``; from ``next``, a record is bad
            (the message names file and byte offset) or a worker was killed. The loader is closed then.
    """

    def __init__(
        self,
        source: ImageSource,
        options: DataOptions,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
        start_position: int | None = None,
    ) -> None:
        global_batch_size = options.global_batch_size
        if global_batch_size <= 0 or global_batch_size % world_size:
            raise UserError(f"the global batch size {global_batch_size} must be a multiple of the {world_size} ranks")
        self.steps_per_epoch = -(-len(source) // global_batch_size)
        self._source = source
        self._stream = SampleStream(len(source), options.seed)
        self._global_batch_size = global_batch_size
        self._batch_size = global_batch_size // world_size
        self._rank = rank
        self._augmentation = options.augmentation
        position = start_step * global_batch_size if start_position is None else start_position
        self._origin = position - start_step * global_batch_size
        self._planned = self._plan_batches(start_step)
        self._requested: deque[Batch] = deque()
        super().__init__(BatchReader(source, options.augmentation, self._batch_size, options.num_workers))
        self._prefetch()

    @override
    def _next_batch(self) -> Batch:
        self._prefetch()
        batch = self._requested.popleft()
        self._reader.collect()
        return batch

    def _plan_batches(self, start_step: int) -> Iterator[_PlannedBatch]:
        """Yield all batches from ``start_step`` on; the order and the draws are computed for many images at once."""
        size, num_steps = self._batch_size, -(-_IMAGES_PLANNED // self._batch_size)
        for start in itertools.count(start_step, num_steps):
            begins = [self._origin + step * self._global_batch_size for step in range(start, start + num_steps)]
            firsts = [begin + self._rank * size for begin in begins]
            taken = [self._stream.take(first, first + size) for first in firsts]
            indices, epochs = (np.concatenate(arrays) for arrays in zip(*taken, strict=True))
            locations, labels = self._source.locate(indices), self._source.labels(indices)
            draws = self._augmentation.draw(self._stream.seed, epochs, indices)
            for i, (begin, first) in enumerate(zip(begins, firsts, strict=True)):
                own = slice(i * size, (i + 1) * size)
                epoch = begin // self._stream.num_images
                yield _PlannedBatch(start + i, epoch, first, labels[own], locations[own], draws[own])

    def _prefetch(self) -> None:
        """Request as many batches as the reader has free slots."""
        while self._reader.free_slots > 0:
            planned = next(self._planned)
            images = self._reader.request(planned.locations, planned.draws)
            self._requested.append(Batch(planned.step, planned.epoch, planned.position, images, planned.labels))
