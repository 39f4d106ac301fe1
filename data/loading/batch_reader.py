"""Prefetch batches of images: worker processes decode them ahead of use, in the order of the requests."""

from __future__ import annotations

from collections import deque

import numpy as np

from data.loading.augment import Augmentation
from data.loading.worker import fill_batch, list_places
from data.loading.worker_team import WorkerTeam
from data.sources.bad_images import BadImage
from data.sources.base import ImageSource

_BATCHES_AHEAD = 2  # per worker: one being decoded, one ready
_BATCHES_LENT = 2  # a step may still be running when its loss is known, but not when the next loss is known


class BatchReader:
    """A ring of batch buffers, filled by worker processes or, without workers, by this process: the same images.

    The buffer of a batch is valid until the next batch has been collected and a further one is requested. Call
    ``close`` when done.
    """

    def __init__(self, source: ImageSource, augmentation: Augmentation, batch_size: int, num_workers: int) -> None:
        self._source = source
        shape = (num_workers * _BATCHES_AHEAD + _BATCHES_LENT, batch_size, source.image_size, source.image_size, 3)
        self._team: WorkerTeam | None = None
        if num_workers > 0:
            self._team = WorkerTeam(source, augmentation, num_workers, shape)
            self._slots = self._team.slots
        else:
            self._slots = np.empty(shape, np.uint8)
            self._places = list_places(self._slots)
            self._change = augmentation.make_change()
        self._requested = self._collected = 0
        self._waiting: deque[tuple[np.ndarray, np.ndarray]] = deque()

    @property
    def free_slots(self) -> int:
        """How many more batches can be requested now."""
        return len(self._slots) - (_BATCHES_LENT - 1) - (self._requested - self._collected)

    def request(self, locations: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Queue a batch: the images at ``locations`` with the augmentation's ``draws``, as for ``fill_batch``.

        Returns:
            The buffer, uint8 [B, size, size, 3], which holds the images once this batch has been collected.
        """
        number = self._requested
        self._requested += 1
        if self._team is None:
            self._waiting.append((locations, draws))
        else:
            self._team.submit(number, locations, draws)
        return self._slots[number % len(self._slots)]

    def collect(self) -> list[BadImage]:
        """Wait until the oldest batch not yet collected is in its buffer; return its bad images, which are black.

        Raises:
            UserError: images cannot be read, or a worker was killed.
        """
        number = self._collected
        self._collected += 1
        if self._team is None:
            places = self._places[number % len(self._slots)]
            return fill_batch(self._source, *self._waiting.popleft(), self._change, places)
        return self._team.collect(number)

    def blank_images(self) -> np.ndarray:
        """Return a black batch in new memory, uint8 [B, size, size, 3]."""
        return np.zeros_like(self._slots[0])

    def close(self) -> None:
        """Stop the workers. May be called twice."""
        if self._team is not None:
            self._team.close()
