"""Yield training batches: the same global batches on any number of ranks and workers, from any step on."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from typing_extensions import override

from common.errors import UserError
from data.loading.balanced import POWERS, BalancedStream
from data.loading.batch_reader import BatchReader
from data.loading.batches import Batch, Batches
from data.loading.options import DataOptions
from data.loading.people import PK, PeopleStream
from data.loading.sampler import SampleStream
from data.loading.worker import fill_batch
from data.sources.bad_images import SKIP, BadImage, bad_images_error, replacement_candidates
from data.sources.base import ImageSource

_IMAGES_PLANNED = 2048  # at once: NumPy takes as long for short arrays as for longer ones


@dataclass(frozen=True)
class _PlannedBatch:
    """A batch before it is requested: the arguments of ``BatchReader.request``, and the other fields of ``Batch``.

    ``indices`` and ``epochs`` are those of its images, int64 [B].
    """

    step: int
    epoch: int
    position: int
    labels: np.ndarray
    locations: np.ndarray
    draws: np.ndarray
    indices: np.ndarray
    epochs: np.ndarray


def _open_stream(source: ImageSource, options: DataOptions) -> SampleStream:
    if options.sampler == PK:
        return PeopleStream(source, options.seed, options.images_per_identity)
    if options.sampler not in POWERS:
        return SampleStream(len(source), options.seed)
    return BalancedStream(source, options.seed, POWERS[options.sampler])


class BatchLoader(Batches):
    """Endless iterator of ``Batch`` in epoch order; use it as a context manager, or call ``close``.

    A global batch is a run of consecutive positions of the sample stream, and rank r of R takes the r-th of R equal
    slices of it, so the training data does not depend on the numbers of ranks and workers. With ``bad_images`` "skip"
    another image, with its own label, takes the place of a bad one; which one depends on seed, epoch and image alone.

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
        UserError: the global batch size is not a positive multiple of ``world_size``; from ``next``, an image is bad
            (the message names file and byte offset) and not to be skipped, or no image can take its place, or a worker
            was killed. The loader is closed then.
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
        self._stream = _open_stream(source, options)
        self._global_batch_size = global_batch_size
        self._batch_size = global_batch_size // world_size
        self._rank = rank
        self._augmentation = options.augmentation
        self._skips = options.bad_images == SKIP
        position = start_step * global_batch_size if start_position is None else start_position
        self._origin = position - start_step * global_batch_size
        self._planned = self._plan_batches(start_step)
        self._requested: deque[tuple[Batch, _PlannedBatch]] = deque()
        super().__init__(BatchReader(source, options.augmentation, self._batch_size, options.num_workers))
        self._prefetch()

    @override
    def _next_batch(self) -> Batch:
        self._prefetch()
        batch, planned = self._requested.popleft()
        bad = self._reader.collect()
        return self._replace(batch, planned, bad) if bad else batch

    def _replace(self, batch: Batch, planned: _PlannedBatch, bad: list[BadImage]) -> Batch:
        """Return the batch with other images in the places of the bad ones."""
        if not self._skips:
            raise bad_images_error([rejection for _, rejection in bad])
        batch = replace(batch, labels=batch.labels.copy(), indices=batch.indices.copy())
        for place, rejection in bad:
            chosen = self._fill(batch.images[place], int(planned.indices[place]), int(planned.epochs[place]))
            if chosen is None:
                raise UserError(f"{rejection.file}: {rejection.details}, and no image that could replace it is good")
            batch.labels[place] = self._source.labels(np.array([chosen]))[0]
            batch.indices[place] = chosen
            self._rejected.append(rejection)
        return batch

    def _fill(self, memory: np.ndarray, index: int, epoch: int) -> int | None:
        """Read the first good image that can replace image ``index`` into ``memory``; return its number."""
        change, epochs = self._augmentation.make_change(), np.array([epoch])
        for candidate in replacement_candidates(self._source, self._stream.seed, epoch, index):
            indices = np.array([candidate])
            draws = self._augmentation.draw(self._stream.seed, epochs, indices)
            if not fill_batch(self._source, self._source.locate(indices), draws, change, [memory]):
                return candidate
        return None

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
                arrays = (labels[own], locations[own], draws[own], indices[own], epochs[own])
                yield _PlannedBatch(start + i, epoch, first, *arrays)

    def _prefetch(self) -> None:
        """Request as many batches as the reader has free slots."""
        while self._reader.free_slots > 0:
            planned = next(self._planned)
            images = self._reader.request(planned.locations, planned.draws)
            batch = Batch(planned.step, planned.epoch, planned.position, images, planned.labels, planned.indices)
            self._requested.append((batch, planned))
