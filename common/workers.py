"""Apply a function to many items on several processes or threads, which are started once."""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
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


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], num_workers: int, chunk: int = 1
) -> Iterator[Result]:
    """Yield ``function(item)`` of every item, in the order of the items.

    Items are taken as they are needed, so an endless or a large iterable does not fill the memory. With one worker, or
    with no more than ``chunk`` items, no process is started.

    Args:
        function: a function of a module, or a ``functools.partial`` of one.
        items: the arguments.
        num_workers: number of processes.
        chunk: number of items that a process takes at a time; more for cheap items.

    Raises:
        UserError: the function raised it, or a process was killed.
    """
    items = iter(items)
    head = list(itertools.islice(items, chunk + 1))
    if num_workers <= 1 or len(head) <= chunk:
        yield from map(function, itertools.chain(head, items))
        return
    items = itertools.chain(head, items)
    chunks = iter(lambda: list(itertools.islice(items, chunk)), [])
    # Spawned, not forked, because the caller may have threads.
    pool = ProcessPoolExecutor(num_workers, get_context("spawn"), _prepare_worker)
    waiting: deque[Future[list[Result]]] = deque()
    try:
        while True:
            for group in itertools.islice(chunks, _IN_FLIGHT * num_workers - len(waiting)):
                waiting.append(pool.submit(_apply, function, group))
            if not waiting:
                break
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process ended unexpectedly; if memory ran out, use a smaller --num_workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item], num_workers: int) -> Iterator[Result]:
    """Yield ``function(item)`` of every item, in the order of the items, from threads that start at once.

    For functions whose work is done outside Python's lock, such as decoding, reading and writing. Items are taken as
    they are needed. After an exception of the function, no further item is begun.
    """
    if num_workers <= 1:
        yield from map(function, items)
        return
    items = iter(items)
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(num_workers)
    try:
        while True:
            for item in itertools.islice(items, _IN_FLIGHT * num_workers - len(waiting)):
                waiting.append(pool.submit(function, item))
            if not waiting:
                break
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


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
