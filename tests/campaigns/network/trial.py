"""One run of two machines: what they print and when, how they end, and what they leave."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from snapshots.reader import newest_snapshot
from tests.support.nodes import Machine, node_folder, start_nodes
from tests.support.supervise import rank_pids, session_members
from tests.support.tiny import read_losses, tiny_config

TRAINING = Path(__file__).resolve().parents[2] / "multirank" / "supervised_training.py"
STEPS = 60
_STEP_SECONDS = 0.1
LONGEST_SILENCE = 60.0  # seconds without a line or a step


@dataclass
class Told:
    """What a node printed.

    Attributes:
        lines: (seconds after the start, text) of each line on stderr.
        step_times: seconds after the start of each line on stdout, which says that a step was done.
        code: exit code; None if it had to be killed.
        seconds: when it ended.
        starts: when it began.
    """

    lines: list[tuple[float, str]] = field(default_factory=list)
    step_times: list[float] = field(default_factory=list)
    code: int | None = None
    seconds: float = 0.0
    starts: float = 0.0

    def says(self, *parts: str) -> bool:
        """Return whether a line holds all ``parts``."""
        return any(all(part in line for part in parts) for _, line in self.lines)

    def longest_silence(self, steps: list[float]) -> float:
        """Return the longest time without a line of this node or one of ``steps``, times of steps."""
        times = sorted([min(self.starts, self.seconds), self.seconds, *steps, *(when for when, _ in self.lines)])
        return max(later - earlier for earlier, later in zip(times, times[1:], strict=False))


@dataclass
class Run:
    """Two nodes that run.

    Attributes:
        folder: of their files; ``models`` holds the snapshots of both.
        processes: their launching commands.
        told: what they print.
        began: the start, on the monotonic clock.
    """

    folder: Path
    processes: list[subprocess.Popen]
    told: list[Told]
    began: float

    def wait_for_step(self, step: int, seconds: float = 300) -> None:
        """Wait until a step was logged, or a node has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and all(process.poll() is None for process in self.processes):
            if (losses := self.losses()) and max(losses) >= step:
                return
            time.sleep(0.05)

    def losses(self) -> dict[int, float]:
        """Return the losses that node 0 has logged, by step."""
        with contextlib.suppress(OSError, ValueError):  # nothing yet, or half a line
            return dict(read_losses(tiny_config(node_folder(self.folder, 0))))
        return {}

    def wait(self, seconds: float, silent: float = LONGEST_SILENCE) -> list[str]:
        """Wait for the end of all; return what is wrong: a hang, orphans, more than ``silent`` seconds of silence."""
        faults = []
        deadline = time.monotonic() + seconds
        running = dict(enumerate(zip(self.processes, self.told, strict=True)))
        while running and time.monotonic() < deadline:
            time.sleep(0.05)
            for node, (process, told) in list(running.items()):
                told.code, told.seconds = process.poll(), time.monotonic() - self.began
                if told.code is not None:
                    del running[node]
        faults += [f"hang: node {node} runs after {seconds:.0f} s" for node in running]
        time.sleep(1)
        for node in range(len(self.processes)):
            left = [pid for pid in rank_pids(node_folder(self.folder, node)) if session_members(pid)]
            faults += [f"orphans of node {node}: {len(left)}"] if left else []
            silence = self.told[node].longest_silence(self.told[0].step_times)
            faults += [f"node {node} said nothing for {silence:.0f} s"] if silence > silent else []
            faults += [f"node {node}: a traceback"] if self.told[node].says("Traceback") else []
        return faults


@contextlib.contextmanager
def running(
    folder: Path,
    models: Path,
    machines: tuple[Machine, Machine],
    steps: int = STEPS,
    rank_timeout: float = 600,
    changes: dict[int, dict[str, object]] | None = None,
    resume: bool = False,
    pauses: tuple[float, float] = (0, 0),
) -> Iterator[Run]:
    """Train on two machines; both have ended when the block ends. ``pauses`` are seconds before each node starts."""
    options = {"train_iter": steps, "iter_num_in_snapshot": 20, "models_root": str(models), "resume": resume}
    given = {"config": options, "step_seconds": _STEP_SECONDS}

    def command(own: Path) -> list[str]:
        return [sys.executable, "-u", str(TRAINING), str(own), json.dumps(given)]

    began = time.monotonic()
    prefixed = tuple(_later(machine, pause) for machine, pause in zip(machines, pauses, strict=True))
    with start_nodes(folder, prefixed, 1, command, rank_timeout, changes) as processes:
        run = Run(folder, processes, [Told(starts=pause) for pause in pauses], began)
        for process, told in zip(processes, run.told, strict=True):
            _listen(process.stdout, lambda when, _, told=told: told.step_times.append(when), began)
            _listen(process.stderr, lambda when, line, told=told: told.lines.append((when, line)), began)
            process.stdout = process.stderr = None
        yield run


def _later(machine: Machine, seconds: float) -> Machine:
    """Return the machine with commands that start after ``seconds``."""
    wait = ("sh", "-c", f'sleep {seconds}; exec "$@"', "sh") if seconds else ()
    return Machine(machine.address, (*machine.prefix, *wait))


def _listen(stream: object, take: Callable[[float, str], None], began: float) -> None:
    def read() -> None:
        with stream:
            for line in stream:
                take(time.monotonic() - began, line.rstrip("\n"))

    threading.Thread(target=read, daemon=True).start()


def snapshot_step(models: Path) -> int | None:
    """Return the step of the newest snapshot below ``models``."""
    found = [newest_snapshot(folder) for folder in models.iterdir() if folder.is_dir()] if models.is_dir() else []
    steps = [int(path.name.rpartition("_")[2]) for path in found if path is not None]
    return max(steps, default=None)
