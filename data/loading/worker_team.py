"""Start and drive the loader's worker processes, which decode whole batches into memory shared with the parent."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import weakref
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from common.errors import UserError
from data.loading.augment import Augmentation
from data.loading.worker import map_images, pack_request
from data.sources.bad_images import BadImage
from data.sources.base import ImageSource

_ROOT = Path(__file__).resolve().parents[2]
_WORKER_CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from data.loading.worker import serve; serve(*map(int, sys.argv[2:]))"
)


class WorkerTeam:
    """Worker processes, and the memory they share with this process.

    Batches are numbered and assigned to the workers in turn; each worker answers in order, so batches arrive in order.
    The memory is an anonymous file, inherited as a descriptor: the kernel frees it when the last process exits.

    Args:
        source: the images; each worker gets a pickled copy.
        augmentation: random changes of the images.
        num_workers: number of processes.
        shape: [slots, B, size, size, 3] of the memory; batch n goes to slot n modulo ``slots``.

    Attributes:
        slots: the shared memory, uint8.
        close: stops the workers; may be called twice.
    """

    def __init__(
        self, source: ImageSource, augmentation: Augmentation, num_workers: int, shape: tuple[int, ...]
    ) -> None:
        memory = os.memfd_create("batches")
        try:
            os.ftruncate(memory, int(np.prod(shape)))
            self.slots = map_images(memory, shape)
            workers = [_start_worker(memory) for _ in range(num_workers)]
        finally:
            os.close(memory)
        self._processes = [process for process, _ in workers]
        self._connections = [connection for _, connection in workers]
        self.close = weakref.finalize(self, _stop_workers, self._processes, self._connections)
        for connection in self._connections:
            connection.send(sys.path)
            connection.send((source, augmentation, shape))

    def submit(self, number: int, locations: np.ndarray, draws: np.ndarray) -> None:
        """Send batch ``number`` to the next worker in turn; the arrays are those of ``worker.fill_batch``."""
        with contextlib.suppress(ConnectionError):  # the worker has exited; collect reports it
            self._worker(number)[1].send_bytes(pack_request(number % len(self.slots), locations, draws))

    def collect(self, number: int) -> list[BadImage]:
        """Wait until batch ``number``, the oldest one submitted, is in its slot; return its bad images.

        Raises:
            UserError: images cannot be read, or the worker was killed.
            RuntimeError: another error occurred in the worker; the message holds its traceback.
        """
        process, connection = self._worker(number)
        try:
            answer = connection.recv_bytes()
        except (EOFError, ConnectionError) as error:
            code = process.wait()
            cause = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise UserError(
                f"a data worker ended ({cause}); if memory ran out, use fewer workers or smaller batches"
            ) from error
        bad, message, trace = pickle.loads(answer) if answer else ([], None, None)
        if message is not None:
            raise UserError(*message.splitlines())
        if trace is not None:
            raise RuntimeError(f"a data worker failed:\n{trace}")
        return bad

    def _worker(self, number: int) -> tuple[subprocess.Popen, Connection]:
        index = number % len(self._processes)
        return self._processes[index], self._connections[index]


def _start_worker(memory: int) -> tuple[subprocess.Popen, Connection]:
    """Start a new interpreter that runs ``data.loading.worker.serve``.

    Not by ``multiprocessing.Process``: its spawn method would import the parent's main script, and OneFlow with it.
    """
    ours, theirs = Pipe()
    # A worker inherits the signal mask, so that Ctrl-C during its start does not cause a traceback.
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
        process.kill()  # they hold no unsaved data
        process.wait()
