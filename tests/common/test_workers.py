import os
import signal
import threading
import time
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
    results = list(map_in_processes(square, range(50), num_workers=2, chunk=3))
    assert [value for value, _ in results] == [number * number for number in range(50)]
    assert os.getpid() not in {pid for _, pid in results}


def test_one_worker_starts_no_process() -> None:
    assert {pid for _, pid in map_in_processes(square, range(9), num_workers=1)} == {os.getpid()}
    assert {pid for _, pid in map_in_processes(square, range(3), num_workers=2, chunk=3)} == {os.getpid()}


def test_items_are_taken_as_they_are_needed() -> None:
    taken = []

    def items():
        for number in range(10_000):
            taken.append(number)
            yield number

    results = map_in_processes(square, items(), num_workers=2)
    next(results)
    assert len(taken) < 20
    results.close()


def test_a_mistake_and_a_killed_process_become_one_line() -> None:
    with pytest.raises(UserError, match="item 7 is bad"):
        list(map_in_processes(partial(fail_at, 7), range(20), num_workers=2))
    with pytest.raises(UserError, match="ended unexpectedly.*--num_workers"):
        list(map_in_processes(partial(end_at, 7), range(20), num_workers=2))


def test_results_of_threads_come_in_order_from_the_same_process() -> None:
    def slow_first(number: int) -> tuple[int, int, str]:
        time.sleep(0.02 * (number == 0))
        return number, os.getpid(), threading.current_thread().name

    results = list(map_in_threads(slow_first, range(50), num_workers=2))
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

    with pytest.raises(UserError, match="item 7 is bad"):
        list(map_in_threads(partial(fail_at, 7), items(), workers))
    assert len(taken) < 30
