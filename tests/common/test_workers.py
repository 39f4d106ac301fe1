import gc
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from common.errors import UserError
from common.workers import map_in_processes, map_in_threads


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def fail_at(bad: int, number: int) -> int:
    if number == bad:
        raise UserError(f"item {number} is bad")
    return number


def end_at(bad: int, number: int) -> int:
    if number == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_order_from_other_processes() -> None:
    with map_in_processes(square, range(50), num_workers=2, chunk=3) as squares:
        results = list(squares)
    assert [value for value, _ in results] == [number * number for number in range(50)]
    assert os.getpid() not in {pid for _, pid in results}


def test_one_worker_starts_no_process() -> None:
    with map_in_processes(square, range(9), num_workers=1) as results:
        assert {pid for _, pid in results} == {os.getpid()}
    with map_in_processes(square, range(3), num_workers=2, chunk=3) as results:
        assert {pid for _, pid in results} == {os.getpid()}


def test_items_are_taken_as_they_are_needed() -> None:
    taken = []

    def items():
        for number in range(10_000):
            taken.append(number)
            yield number

    with map_in_processes(square, items(), num_workers=2) as results:
        next(results)
        assert len(taken) < 20
    assert len(taken) < 20


def test_a_mistake_and_a_killed_process_become_one_line() -> None:
    def read(function: Callable[[int], int]) -> None:
        with map_in_processes(function, range(20), num_workers=2) as results:
            list(results)

    with pytest.raises(UserError, match="item 7 is bad"):
        read(partial(fail_at, 7))
    with pytest.raises(UserError, match="ended unexpectedly.*--num_workers"):
        read(partial(end_at, 7))


def test_results_of_threads_come_in_order_from_the_same_process() -> None:
    def slow_first(number: int) -> tuple[int, int, str]:
        time.sleep(0.02 * (number == 0))
        return number, os.getpid(), threading.current_thread().name

    with map_in_threads(slow_first, range(50), num_workers=2) as numbers:
        results = list(numbers)
    assert [number for number, _, _ in results] == list(range(50))
    assert {pid for _, pid, _ in results} == {os.getpid()}
    assert threading.current_thread().name not in {name for _, _, name in results}


@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_mistake_no_thread_begins_an_item(workers: int) -> None:
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number

    with (
        pytest.raises(UserError, match="item 7 is bad"),
        map_in_threads(partial(fail_at, 7), items(), workers) as results,
    ):
        list(results)
    assert len(taken) < 30


class ConsumerError(Exception):
    """Raised by the code that reads the results."""


def threads_since(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before]


@pytest.mark.parametrize("by_exception", [True, False])
def test_no_thread_works_once_the_block_has_been_left(by_exception: bool) -> None:
    """Not even while something holds the results, such as the traceback of an exception."""
    begun, ended = [], []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.3)
        ended.append(number)

    before = set(threading.enumerate())
    try:
        with map_in_threads(work, range(100), 2) as results:
            next(results)
            if by_exception:
                raise ConsumerError
    except ConsumerError as error:
        assert error.__traceback__.tb_frame.f_locals["results"] is results
    assert not threads_since(before)
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 8  # the items that waited for a thread were dropped


@pytest.mark.parametrize("by_exception", [True, False])
def test_no_process_is_left_once_the_block_has_been_left(by_exception: bool) -> None:
    before = set(threading.enumerate())
    assert not multiprocessing.active_children()
    try:
        with map_in_processes(square, itertools.count(), num_workers=2) as results:
            next(results)
            assert len(multiprocessing.active_children()) == 2
            if by_exception:
                raise ConsumerError
    except ConsumerError as error:
        assert error.__traceback__.tb_frame.f_locals["results"] is results
    assert not multiprocessing.active_children()
    assert not threads_since(before)


def test_the_garbage_collector_does_not_stop_threads() -> None:
    """It may run while a thread is being started, which holds a lock that the end of another thread waits for."""
    before = set(threading.enumerate())
    with map_in_threads(str, range(100), 2) as results:
        next(results)
        threads = threads_since(before)
        cycle = [results]
        cycle.append(cycle)
        del results, cycle
        gc.collect()
        assert threads and all(thread.is_alive() for thread in threads)
    assert not threads_since(before)
