"""The worker's side of the protocol with the benchmark: one JSON object per line on stdin and stdout.

The first input line is the job (see ``benchmarks.contestants``); the answer, sent when the contestant is ready, holds
its label and its first results. Every further line ``{"seconds": S}`` requests a turn of about that length; the answer
holds the seconds of each step. The worker exits at the end of stdin. Uses only the standard library.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

CHECKED_STEPS = {"forward": 1, "train": 3}  # a training step depends on the updates before it
_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


class Contestant(ABC):
    """A network in one framework, ready to run.

    Attributes:
        label: framework and version, for the table.
    """

    label: str

    @abstractmethod
    def step(self) -> list[float]:
        """Run one pass to completion; return the flat embeddings (forward) or the loss before the update (train)."""

    def check(self, steps: int) -> list[float]:
        """Return the results of the first steps, which are compared with other contestants'; this also warms up."""
        return [value for _ in range(steps) for value in self.step()]

    def measure(self, seconds: float) -> list[float]:
        """Return the seconds of each step that begins within ``seconds``; at least one step is run."""
        times: list[float] = []
        while sum(times) < seconds:
            start = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - start)
        return times


def serve(build: Callable[[dict[str, Any]], Contestant]) -> None:
    """Build the contestant for the job in the first line, then take turns until stdin ends."""
    # A worker stopped by the benchmark must not outlive it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the frameworks' output goes to the log
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
    answers.write(json.dumps({**message, "peak_bytes": _peak_bytes()}) + "\n")


def _peak_bytes() -> int:
    """Return the peak memory of this process. That of getrusage is at least its parent's at the start."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
