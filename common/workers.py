"""Apply a function to many items on several processes or threads, which are started once."""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from typing import TypeVar

from common.errors import UserError

Item, Result = TypeVar("Item"), TypeVar("Result")
_IN_FLIGHT = 4  # chunks per process that wait for it or for the caller


def available_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def add_workers_flag(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--num_workers``, by default all CPUs; ``what`` says for the help what there is that many of."""
    parser.add_argument("--num_workers", type=int, default=available_cpus(), help=f"{what} (default: all CPUs)")


@contextmanager
def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], num_workers: int, chunk: int = 1
) -> Iterator[Iterator[Result]]:
    """Give a block the results ``function(item)`` of every item, in the order of the items.

    ``with map_in_processes(function, items, num_workers) as results:``

    Items are taken as they are needed, so an endless or a large iterable does not fill the memory. With one worker, or
    with no more than ``chunk`` items, no process is started. The processes have ended when the block has been left,
    also by an exception.

    Args:
        function: a function of a module, or a ``functools.partial`` of one.
        items: the arguments.
        num_workers: number of processes.
        chunk: number of items that a process takes at a time; more for cheap items.

    Raises:
        UserError: from reading a result: the function raised it, or a process was killed.
    """
    items = iter(items)
    head = list(itertools.islice(items, chunk + 1)) if num_workers > 1 else []
    items = itertools.chain(head, items)
    if len(head) <= chunk:
        yield map(function, items)
        return
    chunks = iter(lambda: list(itertools.islice(items, chunk)), [])
    # Spawned, not forked, because the caller may have threads.
    with _shut_down(ProcessPoolExecutor(num_workers, get_context("spawn"), _prepare_worker)) as pool:
        yield _say_what_broke(_results(pool, partial(_apply, function), chunks, _IN_FLIGHT * num_workers))


@contextmanager
def map_in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], num_workers: int
) -> Iterator[Iterator[Result]]:
    """Give a block the results ``function(item)`` of every item, in the order of the items, from threads.

    ``with map_in_threads(function, items, num_workers) as results:``

    For functions whose work is done outside Python's lock, such as decoding, reading and writing: threads start at
    once. Items are taken as they are needed. The threads have ended when the block has been left: after an exception,
    of the function or of the block, no further item is begun.
    """
    if num_workers <= 1:
        yield map(function, items)
        return
    with _shut_down(ThreadPoolExecutor(num_workers)) as pool:
        yield _results(pool, function, iter(items), _IN_FLIGHT * num_workers)


@contextmanager
def _shut_down(pool: Executor) -> Iterator[Executor]:
    """Shut ``pool`` down at the end of a block: wait for the items in progress, and begin no other.

    Not at the end of the generator of the results: an exception's traceback may hold that one until the garbage
    collector closes it, in any thread. A thread that is just being started holds a lock which ``shutdown`` waits for.
    """
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _results(
    pool: Executor, function: Callable[[Item], Result], items: Iterator[Item], in_flight: int
) -> Iterator[Result]:
    """Yield the results in order; at most ``in_flight`` items wait for ``pool``, are in progress or wait to be read."""
    waiting: deque[Future[Result]] = deque()
    while True:
        for item in itertools.islice(items, in_flight - len(waiting)):
            waiting.append(pool.submit(function, item))
        if not waiting:
            return
        yield waiting.popleft().result()


def _say_what_broke(chunks: Iterator[list[Result]]) -> Iterator[Result]:
    """Yield the results of chunks.

    Raises:
        UserError: a process was killed.
    """
    try:
        for chunk in chunks:
            yield from chunk
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process ended unexpectedly; if memory ran out, use a smaller --num_workers"
        ) from error


def _apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ[name] = "1"  # the processes are the parallel part

    def end_with_parent() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
