"""Runs rank programs on real ranks and collects what each rank returns.

A rank program is a module of the tests with a function ``main`` that takes the arguments given to ``run_ranks`` and
returns anything that can be pickled. Processes are kept: starting one costs more than most programs do. Each number of
ranks has its processes, which run one program after the other, until a program fails in them, they hold many graphs,
or the tests end.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# Below the ports that systems give to outgoing connections, so that nothing takes one before it is used.
_PORTS = range(12000, 32000)
# Variables that change how programs compute: ranks started with other values are not used.
_SWITCHES = ("INSIGHTFACE_", "ONEFLOW_")
_MANY_GRAPHS = 32  # some 20 MB each


def free_port() -> int:
    """Return a port that nothing listens at."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port


def rank_environment(rank: int, ranks: int, port: int) -> dict[str, str]:
    """Return the variables of a rank's process."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(ROOT)}


def run_ranks(program: Path, ranks: int, arguments: Any = None, timeout: float = 300) -> list[Any]:
    """Return what ``program`` returned on each rank.

    Raises:
        AssertionError: a rank failed, or the program did not end within ``timeout`` seconds. The message holds the
            output of all ranks; their processes are ended.
    """
    switches = {name: value for name, value in os.environ.items() if name.startswith(_SWITCHES)}
    kept = _groups.get(ranks)
    if kept is None or kept.switches != switches:
        close_ranks(ranks)
        kept = _groups[ranks] = _RankGroup(ranks, switches)
    try:
        results = kept.run(program, arguments, timeout)
    except BaseException:
        close_ranks(ranks)
        raise
    if kept.graphs >= _MANY_GRAPHS:
        close_ranks(ranks)
    return results


def close_ranks(ranks: int) -> None:
    """End the processes kept for ``ranks`` ranks, if there are any."""
    if ranks in _groups:
        _groups.pop(ranks).close()


class _RankGroup:
    """The processes of one number of ranks.

    Attributes:
        switches: the variables of ``_SWITCHES`` that they were started with.
        graphs: how many graphs each of them holds.
    """

    def __init__(self, ranks: int, switches: dict[str, str]) -> None:
        self.switches = switches
        self.graphs = 0
        self._folder = tempfile.TemporaryDirectory(prefix="ranks-")
        port = free_port()
        self._logs = [Path(self._folder.name) / f"rank-{rank}.log" for rank in range(ranks)]
        self._processes = [self._start(rank, rank_environment(rank, ranks, port)) for rank in range(ranks)]

    def _start(self, rank: int, environment: dict[str, str]) -> subprocess.Popen:
        with open(self._logs[rank], "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.support.rank_process"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def run(self, program: Path, arguments: Any, timeout: float) -> list[Any]:
        """Run ``program`` on all ranks and return their results in the order of the ranks."""
        module = ".".join(program.resolve().relative_to(ROOT).with_suffix("").parts)
        starts = [log.stat().st_size for log in self._logs]
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            given = Path(folder) / "arguments"
            given.write_bytes(pickle.dumps(arguments))
            results = [Path(folder) / f"{rank}.result" for rank in range(len(self._processes))]
            for process, result in zip(self._processes, results, strict=True):
                with contextlib.suppress(BrokenPipeError):  # its end is seen below
                    process.stdin.write(f"{module}\n{given}\n{result}\n".encode())
                    process.stdin.flush()
            error = self._wait(time.monotonic() + timeout)
            if error is None:
                return [pickle.loads(result.read_bytes()) for result in results]
        texts = [
            log.read_bytes()[start:].decode(errors="replace") for log, start in zip(self._logs, starts, strict=True)
        ]
        logs = "\n".join(f"--- rank {rank}: {text}" for rank, text in enumerate(texts))
        raise AssertionError(f"{program.name} on {len(texts)} rank(s): {error}\n{logs}")

    def _wait(self, deadline: float) -> str | None:
        """Wait until all ranks are done; return what went wrong."""
        busy = {process.stdout: process for process in self._processes}
        while busy:
            ready, _, _ = select.select(busy, [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                return "timed out"
            for pipe in ready:
                word, _, count = pipe.readline().partition(b" ")
                if word != b"done":
                    code = busy[pipe].wait()
                    time.sleep(1)  # the others may still say why
                    return f"rank {self._processes.index(busy[pipe])} ended with code {code}"
                self.graphs = int(count)
                del busy[pipe]
        return None

    def close(self) -> None:
        """Kill the processes and what they started."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self._processes:
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
        self._folder.cleanup()


_groups: dict[int, _RankGroup] = {}


@atexit.register
def _close_all() -> None:
    for ranks in list(_groups):
        close_ranks(ranks)
