from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.contestants import Contestant
from benchmarks.worker import ROOT, Worker, WorkerError

PROGRAM = """
import os, signal, sys, time
from benchmarks.peers.protocol import Contestant, serve

class Sleeper(Contestant):
    def __init__(self, job):
        print("this goes to the log")
        if job["fail"] == "build":
            raise ImportError("no such framework")
        self.job, self.steps, self.label = job, 0, os.environ["LABEL"]
    def step(self):
        self.steps += 1
        if self.job["fail"] == "die" and self.steps > 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.job["fail"] == "exit" and self.steps > 3:
            print("last words")
            os._exit(3)
        time.sleep(0.02)
        return [float(self.steps)]

serve(Sleeper)
"""


@pytest.fixture
def start(tmp_path: Path):
    workers: list[Worker] = []

    def begin(fail: str = "", kind: str = "train") -> Worker:
        command = [sys.executable, "-c", PROGRAM]
        workers.append(Worker(command, {"LABEL": "sleeper"}, {"pass": kind, "fail": fail}, tmp_path / "log"))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.close()


def is_stopped(worker: Worker) -> bool:
    """The signal may take a moment to arrive."""
    for _ in range(500):
        if Path(f"/proc/{worker._process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            return True
        time.sleep(0.01)
    return False


def test_first_results_come_with_the_label(start: Callable[..., Worker]):
    worker = start()
    assert (worker.label, worker.results) == ("sleeper", [1.0, 2.0, 3.0])
    assert worker.peak_bytes > 1e6
    assert start(kind="forward").results == [1.0]


def test_a_turn_is_as_long_as_asked_and_stops_the_clock_afterwards(start: Callable[..., Worker]):
    worker = start()
    times = worker.measure(0.1)
    assert sum(times[:-1]) < 0.1 <= sum(times)
    assert min(times) >= 0.02
    assert is_stopped(worker)
    assert len(worker.measure(0.001)) == 1  # it continues when asked again


def test_a_framework_that_is_not_there_is_named(start: Callable[..., Worker], tmp_path: Path):
    with pytest.raises(WorkerError, match="^ImportError: no such framework$"):
        start(fail="build")
    assert "this goes to the log" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(("fail", "message"), [("die", "SIGKILL"), ("exit", "exit code 3: last words")])
def test_a_dead_worker_is_told_by_its_end(start: Callable[..., Worker], fail: str, message: str):
    worker = start(fail=fail)
    with pytest.raises(WorkerError, match=message):
        worker.measure(1.0)
    worker.close()
    worker.close()


def test_a_missing_environment_says_how_to_make_it(tmp_path: Path):
    absent = Contestant("torch", "torch_worker", "float32", ROOT / "absent" / "bin" / "python")
    with pytest.raises(WorkerError, match=r"absent/bin/python is missing; run bash benchmarks/setup_peers.sh"):
        absent.start({"threads": 1}, tmp_path / "log")
