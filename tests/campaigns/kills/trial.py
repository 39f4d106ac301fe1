"""One trial: a command is killed at random moments until it has had its share, then runs to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.campaigns.kills.jobs import Job

ROOT = Path(__file__).resolve().parents[3]
MARK = "INSIGHTFACE_CAMPAIGN"  # in the environment of all processes of a trial
_END = 60  # seconds within which everything must have ended after a kill
_LONGEST = 900  # seconds of an undisturbed run on a busy machine
SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT, "STOP": signal.SIGSTOP}
VICTIMS = ("launcher", "rank", "worker", "all")


@dataclass
class Outcome:
    """What happened.

    Attributes:
        kills: (seconds after the start, victim, signal) of each.
        faults: what went wrong; empty if nothing did.
    """

    kills: list[tuple[float, str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def marked_processes(mark: str) -> dict[int, int]:
    """Return the living processes of a trial: their parents by process number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            if f"{MARK}={mark}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            state, parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if state != "Z":
                found[int(folder.name)] = int(parent)
    return found


def choose_victims(rng: np.random.Generator, launcher: int, mark: str) -> tuple[str, list[int]]:
    """Return a kind of victim and its processes: of the kinds that are running."""
    running = marked_processes(mark)
    ranks = [pid for pid, parent in running.items() if parent == launcher]
    workers = [pid for pid in running if pid != launcher and pid not in ranks]
    choices = {"launcher": [launcher], "all": list(running)}
    if ranks:
        choices["rank"] = [int(rng.choice(ranks))]
    if workers:
        choices["worker"] = [int(rng.choice(workers))]
    kind = str(rng.choice(sorted(choices)))
    return kind, choices[kind]


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to processes, some of which may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Command:
    """A running command and all its processes, which ``end`` leaves none of."""

    def __init__(self, words: Sequence[str], mark: str, log: Path) -> None:
        self.mark, self.log = mark, log
        environment = {**os.environ, MARK: mark, "PYTHONPATH": str(ROOT)}
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.began = time.monotonic()

    def wait(self, seconds: float) -> int | None:
        """Return the exit code; None if it still runs after ``seconds``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(max(seconds, 0))
        return None

    def require_end(self, seconds: float, faults: list[str]) -> None:
        """Wait until no process is left; note it as a fault where one is, and kill it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None and not marked_processes(self.mark):
                return
            time.sleep(0.1)
        what = "hang" if self.process.poll() is None else "orphans"
        faults.append(f"{what}: {len(marked_processes(self.mark))} processes {seconds:.0f} s after the kill")
        self.end()

    def end(self) -> None:
        """Kill what is left."""
        while left := marked_processes(self.mark):
            send(list(left), signal.SIGKILL)
            self.process.poll()
            time.sleep(0.1)
        self.process.wait()


def kill_once(command: Command, rng: np.random.Generator, moment: float, outcome: Outcome) -> None:
    """Kill the command at ``moment`` seconds after its start, unless it has ended by then."""
    if command.wait(moment) is not None:
        return
    victim, pids = choose_victims(rng, command.process.pid, command.mark)
    name = str(rng.choice(sorted(SIGNALS)))
    outcome.kills.append((round(moment, 2), victim, name))
    send(pids, SIGNALS[name])
    if name == "STOP":
        time.sleep(float(rng.uniform(0.2, 3)))
        send(pids, signal.SIGCONT)
    elif victim != "worker" or name == "KILL":  # a worker may leave a Ctrl-C to its rank
        command.require_end(_END, outcome.faults)


def run_trial(job: Job, folder: Path, seed: int, kills: int, seconds: float, expected: dict[str, object]) -> Outcome:
    """Kill a job ``kills`` times, run it to its end, and compare.

    Args:
        job: the command.
        folder: an empty folder for its results.
        seed: of moments, victims and signals.
        kills: how many.
        seconds: how long an undisturbed run takes, about.
        expected: the results of an undisturbed run.
    """
    rng, outcome, again = np.random.default_rng(seed), Outcome(), False
    mark = f"{folder.name}-{seed}"
    log = folder.with_suffix(".log")
    for number in range(kills + 1):
        command = Command(job.command(folder, again), mark, log)
        again = True
        try:
            if number < kills:
                kill_once(command, rng, float(rng.uniform(0, seconds)), outcome)
            code = command.wait(_LONGEST)
            command.require_end(_END, outcome.faults)
        finally:
            command.end()
        if job.is_done(folder):  # at the end, before the kill, or in spite of it
            outcome.faults += compare(expected, dict(job.results(folder)))
            break
    else:
        outcome.faults.append(f"the last run ended with {code}")
    text = log.read_text(errors="replace")
    if "Traceback" in text and "\nKeyboardInterrupt" not in text:  # which Python prints while it still imports
        outcome.faults.append("a traceback in the output")
    return outcome


def compare(expected: dict[str, object], found: dict[str, object]) -> list[str]:
    """Return what differs, one line each."""
    lines = [f"lacks {name}" for name in expected.keys() - found.keys()]
    # A run that was asked to stop has written one more snapshot. What is hidden is unfinished.
    lines += [f"left over: {name}" for name in found if any(part.startswith(".") for part in Path(name).parts)]
    return lines + [f"{name} differs" for name in expected.keys() & found.keys() if expected[name] != found[name]]
