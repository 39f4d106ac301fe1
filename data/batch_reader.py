"""Batches of images in the order in which they are asked for, decoded ahead of their use by worker processes."""

from __future__ import annotations

from collections import deque

import numpy as np

from data.augment import Augmentation
from data.source import ImageSource
from data.worker import fill_batch, list_places
from data.worker_team import WorkerTeam

_BATCHES_AHEAD = 2  # per worker: one being decoded, one ready
_BATCHES_LENT = 2  # a step may still be running when its loss is known, but not when the loss of the next one is


class BatchReader:
    """Memory for some batches, and who fills it: workers, or without any this process, with the same result.

    The memory of a batch is filled anew after the next but one has been collected. ``close`` it in the end.
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
        self._asked = self._collected = 0
        self._own: deque[tuple[np.ndarray, np.ndarray]] = deque()

    @property
    def room(self) -> int:
        """How many more batches can be asked for now."""
        return len(self._slots) - (_BATCHES_LENT - 1) - (self._asked - self._collected)

    def ask(self, locations: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Ask for the images at ``locations`` with the augmentation's ``draws``, both as ``fill_batch`` takes them.

        Returns:
            Where they will be when this batch has been collected, uint8 [B, size, size, 3].
        """
        number = self._asked
        self._asked += 1
        if self._team is None:
            self._own.append((locations, draws))
        else:
            self._team.submit(number, locations, draws)
        return self._slots[number % len(self._slots)]

    def collect(self) -> None:
        """Wait until the oldest batch that was asked for and not yet collected is where it should be.

        Raises:
            UserError: a bad record, or a worker was killed.
        """
        number = self._collected
        self._collected += 1
        if self._team is None:
            places = self._places[number % len(self._slots)]
            fill_batch(self._source, *self._own.popleft(), self._change, places)
        else:
            self._team.collect(number)

    def close(self) -> None:
        """Stop the workers. Closing twice does no harm."""
        if self._team is not None:
            self._team.close()
