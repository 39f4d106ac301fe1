"""Let contestants take turns, each once per round, so that noise affects all alike."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contestants import Contestant
from benchmarks.worker import Worker, WorkerError
from common.progress import progress

# A process is kept between its turns only while memory has room for this many of the largest process so far.
SPARE_PROCESSES = 2


@dataclass
class Measured:
    """The measurements of one contestant.

    Attributes:
        label: framework and version.
        times: seconds of every step of all rounds.
        results: results of its first steps, for comparison with the others.
        failure: why it could not run or stopped; empty if it ran.
        peak_bytes: the peak memory of its process.
    """

    contestant: Contestant
    label: str = ""
    times: list[float] = field(default_factory=list)
    results: list[float] = field(default_factory=list)
    failure: str = ""
    peak_bytes: int = 0


def available_bytes() -> int:
    """Return the memory available to new processes."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")


def run_rounds(
    contestants: Sequence[Contestant],
    job: Mapping[str, Any],
    rounds: int,
    seconds: float,
    available: Callable[[], int] = available_bytes,
) -> list[Measured]:
    """Let the contestants take turns of about ``seconds`` on ``job``; return their measurements in the same order.

    Between turns, processes are kept but stopped while memory allows; otherwise they are restarted.
    """
    measured = [Measured(contestant) for contestant in contestants]
    workers: dict[int, Worker] = {}
    peak = 0
    with tempfile.TemporaryDirectory(prefix="benchmark-logs-") as folder:
        turns = [(number, index) for number in range(rounds) for index in range(len(measured))]
        try:
            for _, index in progress(turns, desc=f"{job['pass']}", unit="turn"):
                entry = measured[index]
                if entry.failure:
                    continue
                try:
                    if index not in workers:
                        workers[index] = entry.contestant.start(job, Path(folder) / f"{index}.log")
                    entry.label, entry.results = workers[index].label, workers[index].results
                    entry.times += workers[index].measure(seconds)
                    entry.peak_bytes = max(entry.peak_bytes, workers[index].peak_bytes)
                    peak = max(peak, entry.peak_bytes)
                except WorkerError as error:
                    entry.failure = str(error)
                if index in workers and (entry.failure or available() < SPARE_PROCESSES * peak):
                    workers.pop(index).close()
        finally:
            for worker in workers.values():
                worker.close()
    return measured
