"""Batches for training: the same global batch on any number of ranks and workers, from any step on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from common.errors import UserError
from data.augment import Augmentation
from data.sampler import SampleStream
from data.source import ImageSource
from data.worker import fill_batch, map_images

_BATCHES_AHEAD = 2  # per worker: one being decoded, one ready
_ROOT = Path(__file__).resolve().parents[1]
_WORKER_CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from data.worker import serve; serve(*map(int, sys.argv[2:]))"
)


@dataclass(frozen=True)
class Batch:
    """One rank's part of a global batch.

    Attributes:
        step: number of the global batch, from 0.
        epoch: epoch of the global batch's first image.
        position: place of this part's first image in the sample stream.
        images: uint8 [B, 3, size, size], RGB.
        labels: int32 [B].
    """

    step: int
    epoch: int
    position: int
    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class _Request:
    step: int
    epoch: int
    position: int
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
        wait_seconds: time so far that ``next`` spent waiting for images.

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
        self._step = start_step
        position = start_step * global_batch_size if start_position is None else start_position
        self._origin = position - start_step * global_batch_size
        self._team: _WorkerTeam | None = None
        if num_workers > 0:
            self._team = _WorkerTeam(source, num_workers, self._batch_size)
            for step in range(start_step, start_step + self._team.num_slots):
                self._team.submit(self._request(step))

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        start = time.perf_counter()
        try:
            batch = self._decode_here() if self._team is None else self._team.collect()
        except BaseException:
            self.close()
            raise
        self.wait_seconds += time.perf_counter() - start
        self._step += 1
        if self._team is not None:
            self._team.submit(self._request(self._step + self._team.num_slots - 1))
        return batch

    def __enter__(self) -> BatchLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers. Closing twice does no harm."""
        if self._team is not None:
            self._team.close()

    def _request(self, step: int) -> _Request:
        begin = self._origin + step * self._global_batch_size
        first = begin + self._rank * self._batch_size
        indices, epochs = self._stream.take(first, first + self._batch_size)
        draws = self._augmentation.draw(self._stream.seed, epochs, indices)
        return _Request(step, begin // self._stream.num_images, first, self._source.locate(indices), draws)

    def _decode_here(self) -> Batch:
        request = self._request(self._step)
        images = np.empty((self._batch_size, 3, self._source.image_size, self._source.image_size), np.uint8)
        labels = fill_batch(self._source, request.locations, request.draws, images)
        return Batch(request.step, request.epoch, request.position, images, labels)


class _WorkerTeam:
    """Worker processes and the memory they share with this one.

    Whole batches go to the workers in turn, and each worker answers in order, so batches come back in order. The memory
    is an anonymous file handed over by descriptor: it vanishes with the last process that holds it, whatever ends them.
    """

    def __init__(self, source: ImageSource, num_workers: int, batch_size: int) -> None:
        self.num_slots = num_workers * _BATCHES_AHEAD
        self._pending: list[_Request] = []
        shape = (self.num_slots, batch_size, 3, source.image_size, source.image_size)
        memory = os.memfd_create("batches")
        try:
            os.ftruncate(memory, int(np.prod(shape)))
            self._slots = map_images(memory, shape)
            workers = [_start_worker(memory) for _ in range(num_workers)]
        finally:
            os.close(memory)
        self._processes = [process for process, _ in workers]
        self._connections = [connection for _, connection in workers]
        self.close = weakref.finalize(self, _stop_workers, self._processes, self._connections)
        for connection in self._connections:
            connection.send(sys.path)
            connection.send((source, shape))

    def submit(self, request: _Request) -> None:
        """Hand the next batch to the worker whose turn it is."""
        worker = request.step % len(self._connections)
        self._pending.append(request)
        with contextlib.suppress(ConnectionError):  # the worker is gone; collect says so when it comes to this batch
            self._connections[worker].send((request.step % self.num_slots, request.locations, request.draws))

    def collect(self) -> Batch:
        """Wait for the oldest batch."""
        request = self._pending.pop(0)
        worker = request.step % len(self._connections)
        try:
            labels, message, trace = self._connections[worker].recv()
        except (EOFError, ConnectionError) as error:
            code = self._processes[worker].wait()
            cause = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise UserError(
                f"a data worker ended ({cause}); if memory ran out, use fewer workers or smaller batches"
            ) from error
        if message is not None:
            raise UserError(message)
        if trace is not None:
            raise RuntimeError(f"a data worker failed:\n{trace}")
        # A copy, because the slot is refilled while OneFlow may still be reading the batch.
        return Batch(
            request.step, request.epoch, request.position, self._slots[request.step % self.num_slots].copy(), labels
        )


def _start_worker(memory: int) -> tuple[subprocess.Popen, Connection]:
    """Start a fresh interpreter that runs ``data.worker.serve``.

    Not ``multiprocessing.Process``: its spawn method would import the parent's main script, and OneFlow with it.
    """
    ours, theirs = Pipe()
    # A worker inherits the blocked signals, so that Ctrl-C during its start does not end it with a traceback.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        command = [sys.executable, "-c", _WORKER_CODE, str(_ROOT), str(theirs.fileno()), str(memory)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), memory))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return process, ours


def _stop_workers(processes: list[subprocess.Popen], connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()
    for process in processes:
        process.kill()  # they hold nothing that needs saving
        process.wait()
