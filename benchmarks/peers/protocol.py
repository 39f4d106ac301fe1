"""The worker's end of the line to the benchmark: one JSON object per line on stdin and stdout.

The first line in is the job (see ``benchmarks.contestants``); the answer says that the contestant is ready, what it is,
and what its first results are. Every further line ``{"seconds": S}`` asks for a turn of about that long; the answer
holds the seconds of each step. The end of stdin ends the process. Only the standard library is used here.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

CHECKED_STEPS = {"forward": 1, "train": 3}  # training steps see each other's updates
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


class Contestant(ABC):
    """A network in one framework, ready to run.

    Attributes:
        label: framework and version, for the table.
    """

    label: str

    @abstractmethod
    def step(self) -> list[float]:
        """Do one pass to its very end; return the embeddings, flat (forward), or the loss before the update (train)."""

    def check(self, steps: int) -> list[float]:
        """Return the results of the first steps, by which contestants are compared; this warms up as well."""
        return [value for _ in range(steps) for value in self.step()]

    def measure(self, seconds: float) -> list[float]:
        """Return the seconds of each of as many steps as begin within ``seconds``, at least one."""
        times: list[float] = []
        while sum(times) < seconds:
            start = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - start)
        return times


def serve(build: Callable[[dict[str, Any]], Contestant]) -> None:
    """Build the contestant that the first line asks for and take turns until stdin ends."""
    # A worker that the benchmark has put to sleep must not outlive it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what frameworks print goes to the log
    try:
        job = json.loads(sys.stdin.readline())
        contestant = build(job)
        results = contestant.check(CHECKED_STEPS[job["pass"]])
        _answer(answers, {"label": contestant.label, "results": results})
        for line in sys.stdin:
            _answer(answers, {"times": contestant.measure(json.loads(line)["seconds"])})
    except BaseException as error:
        traceback.print_exc()
        _answer(answers, {"failed": f"{type(error).__name__}: {error}".splitlines()[0]})
    os._exit(0)  # without the frameworks' shutdown, which can hang


def _answer(answers: Any, message: dict[str, Any]) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answers.write(json.dumps({**message, "peak_bytes": peak}) + "\n")
