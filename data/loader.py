"""Batches for training: the same global batch on any number of ranks and workers, from any step on."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from data.augment import Augmentation
from data.sampler import SampleStream
from data.source import ImageSource
from data.worker import fill_batch, list_planes
from data.worker_team import WorkerTeam

_BATCHES_AHEAD = 2  # per worker: one being decoded, one ready
_BATCHES_LENT = 2  # a step may still be running when its loss is known, but not when the loss of the next one is
_IMAGES_PLANNED = 2048  # at once, because NumPy takes as long for short arrays as for longer ones


@dataclass(frozen=True)
class Batch:
    """One rank's part of a global batch.

    Attributes:
        step: number of the global batch, from 0.
        epoch: epoch of the global batch's first image.
        position: place of this part's first image in the sample stream.
        images: uint8 [B, 3, size, size], RGB. The loader's own memory, which it fills anew in the next but one call of
            ``next``: until then the contents stay, afterwards only a copy has them.
        labels: int32 [B].
    """

    step: int
    epoch: int
    position: int
    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class _Plan:
    """A batch before it is read, and what ``fill_batch`` needs to read it."""

    batch: Batch
    locations: np.ndarray
    draws: np.ndarray


class BatchLoader:
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
        self.wait_seconds = 0.0
        self._source = source
        self._stream = SampleStream(len(source), seed)
        self._global_batch_size = global_batch_size
        self._batch_size = global_batch_size // world_size
        self._rank = rank
        self._augmentation = augmentation
        position = start_step * global_batch_size if start_position is None else start_position
        self._origin = position - start_step * global_batch_size
        num_slots = num_workers * _BATCHES_AHEAD + _BATCHES_LENT
        shape = (num_slots, self._batch_size, 3, source.image_size, source.image_size)
        self._plans = self._make_plans(start_step)
        self._submitted: deque[_Plan] = deque()
        self._team: WorkerTeam | None = None
        if num_workers > 0:
            self._team = WorkerTeam(source, augmentation, num_workers, shape)
            self._slots = self._team.slots
            self._submit_all()
        else:
            self._slots = np.empty(shape, np.uint8)
            self._planes = list_planes(self._slots)
            self._change = augmentation.make_change()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        start = time.perf_counter()
        try:
            batch = self._decode() if self._team is None else self._collect()
        except BaseException:
            self.close()
            raise
        self.wait_seconds += time.perf_counter() - start
        return batch

    def __enter__(self) -> BatchLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers. Closing twice does no harm."""
        if self._team is not None:
            self._team.close()

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
                images = self._slots[(start + i) % len(self._slots)]
                batch = Batch(start + i, begin // self._stream.num_images, first, images, labels[own])
                yield _Plan(batch, locations[own], draws[own])

    def _decode(self) -> Batch:
        plan = next(self._plans)
        planes = self._planes[plan.batch.step % len(self._slots)]
        fill_batch(self._source, plan.locations, plan.draws, self._change, planes)
        return plan.batch

    def _collect(self) -> Batch:
        self._submit_all()
        batch = self._submitted.popleft().batch
        self._team.collect(batch.step)
        return batch

    def _submit_all(self) -> None:
        """Ask for as many batches as there are slots, less those of the batches that must stay during this ``next``."""
        while len(self._submitted) < len(self._slots) - (_BATCHES_LENT - 1):
            plan = next(self._plans)
            self._team.submit(plan.batch.step, plan.locations, plan.draws)
            self._submitted.append(plan)
