"""Batches for training: the same global batch on any number of ranks and workers, from any step on."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from data.augment import Augmentation
from data.batch_reader import BatchReader
from data.batches import Batch, Batches
from data.sampler import SampleStream
from data.source import ImageSource

_IMAGES_PLANNED = 2048  # at once, because NumPy takes as long for short arrays as for longer ones


@dataclass(frozen=True)
class _Plan:
    """A batch before it is asked for: what ``BatchReader.ask`` takes, and the rest of ``Batch``."""

    step: int
    epoch: int
    position: int
    labels: np.ndarray
    locations: np.ndarray
    draws: np.ndarray


class BatchLoader(Batches):
    """Endless iterator of ``Batch``; use it as a context manager, or call ``close``.

    A global batch is the next GB positions of the sample stream, and rank r of R takes the r-th of R equal slices of
    it, so neither the ranks nor the workers change what is trained on.

    Args:
        source: where the images come from.
        global_batch_size: images a step over all ranks; a multiple of ``world_size``.
        rank: this process, 0..world_size-1.
        world_size: number of ranks.
        seed: decides the order and the augmentation.
        augmentation: what is done to the images.
        num_workers: worker processes; 0 decodes in this process, with the same result bit for bit.
        start_step: number of the first batch; a run resumed there goes on as if it had never stopped.
        start_position: place of the first batch in the stream, start_step * global_batch_size unless given; a run that
            goes on with another batch size gives the number of images it has taken.

    Attributes:
        steps_per_epoch: steps after which every image has been seen (num_images / global_batch_size, rounded up).
        wait_seconds: time so far spent in ``next``, which is what training waited for its images.

    Raises:
        UserError: from the constructor for impossible sizes; from ``next`` for a bad record (names file and byte
            offset) or a worker that was killed. The loader is closed then.
    """

    def __init__(
        self,
        source: ImageSource,
        global_batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 (frozen)
        num_workers: int = 0,
        start_step: int = 0,
        start_position: int | None = None,
    ) -> None:
        if global_batch_size <= 0 or global_batch_size % world_size:
            raise UserError(f"the global batch size {global_batch_size} must be a multiple of the {world_size} ranks")
        self.steps_per_epoch = -(-len(source) // global_batch_size)
        self._source = source
        self._stream = SampleStream(len(source), seed)
        self._global_batch_size = global_batch_size
        self._batch_size = global_batch_size // world_size
        self._rank = rank
        self._augmentation = augmentation
        position = start_step * global_batch_size if start_position is None else start_position
        self._origin = position - start_step * global_batch_size
        self._plans = self._make_plans(start_step)
        self._asked: deque[Batch] = deque()
        super().__init__(BatchReader(source, augmentation, self._batch_size, num_workers))
        self._ask()

    def _take(self) -> Batch:
        self._ask()
        batch = self._asked.popleft()
        self._reader.collect()
        return batch

    def _make_plans(self, start_step: int) -> Iterator[_Plan]:
        """Yield the plans of all batches from ``start_step`` on; the work is done for many images at once."""
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
                yield _Plan(start + i, epoch, first, labels[own], locations[own], draws[own])

    def _ask(self) -> None:
        """Ask for as many batches as there is room for."""
        while self._reader.room > 0:
            plan = next(self._plans)
            images = self._reader.ask(plan.locations, plan.draws)
            self._asked.append(Batch(plan.step, plan.epoch, plan.position, images, plan.labels))
