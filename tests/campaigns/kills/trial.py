"""One trial: a command is killed again and again, then runs to its end, and its results are compared."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.campaigns.kills.jobs import Job
from tests.campaigns.processes import ROOT, Command, marked_processes, send

_END = 60  # seconds within which everything must have ended after a kill; two machines wait 45 s for each other
_LONGEST = 900  # seconds of an undisturbed run on a busy machine
_STOPPED = 1.5  # seconds that a stopped process stays so, at most
_STOPS = 0.4  # share of SIGSTOP among the signals; a run goes on after it
_START = 0.4  # share of the moments that lie in the start-up
SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT, "STOP": signal.SIGSTOP}


@dataclass
class Outcome:
    """What happened.

    Attributes:
        kills: (moment, victim, signal) of each.
        faults: what went wrong; empty if nothing did.
        ends: seconds from each signal that ends a command until no process was left.
    """

    kills: list[tuple[str, str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Undisturbed:
    """An undisturbed run: its results, and the seconds until its first moment worth killing, and until its end."""

    results: Mapping[str, object]
    first: float
    whole: float


class Machines:
    """The commands of a job: one, or one for each machine."""

    def __init__(self, job: Job, folder: Path, again: bool, mark: str, log: Path) -> None:
        """Start them; their output is appended to ``log``."""
        self.commands = [
            Command(words, f"{mark}-{number}", log) for number, words in enumerate(job.commands(folder, again))
        ]

    def have_ended(self) -> bool:
        """Return whether no process of them is left."""
        return all(command.has_ended() for command in self.commands)

    def wait(self, seconds: float) -> int | None:
        """Return the largest exit code; None if a command still runs after ``seconds``."""
        deadline = time.monotonic() + seconds
        codes = [command.wait(deadline - time.monotonic()) for command in self.commands]
        return None if None in codes else max(codes, key=abs)

    def require_end(self, seconds: float, faults: list[str]) -> float:
        """Wait until no process is left, and return after how many seconds; if one is, note the fault and kill it."""
        start = time.monotonic()
        for _ in range(int(seconds * 10)):  # not by the clock, as this process may be stopped for a while
            if self.have_ended():
                return time.monotonic() - start
            time.sleep(0.1)
        what = "hang" if any(command.process.poll() is None for command in self.commands) else "orphans"
        left = sum(len(marked_processes(command.mark)) for command in self.commands)
        faults.append(f"{what}: {left} processes {seconds:.0f} s after the kill")
        self.end()
        return seconds

    def end(self) -> None:
        """Kill what is left."""
        for command in self.commands:
            command.end()


def choose_victims(rng: np.random.Generator, machines: Machines) -> tuple[str, list[int]]:
    """Return a kind of victim and its processes: of the kinds that are running."""
    command = machines.commands[int(rng.integers(len(machines.commands)))]
    running, launcher = marked_processes(command.mark), command.process.pid
    children = [pid for pid, parent in running.items() if parent == launcher]
    others = [pid for pid in running if pid != launcher and pid not in children]
    choices = {"launcher": [launcher], "all": [p for each in machines.commands for p in marked_processes(each.mark)]}
    if len(machines.commands) > 1:
        choices["machine"] = list(running)
    if children:
        choices["rank"] = [int(rng.choice(children))]  # of a command without ranks: a worker
    if others:
        choices["worker"] = [int(rng.choice(others))]
    kind = str(rng.choice(sorted(choices)))
    return kind, choices[kind]


def wait_for_moment(
    rng: np.random.Generator, job: Job, machines: Machines, folder: Path, undisturbed: Undisturbed
) -> str | None:
    """Wait for a random moment and return its name; None if the command ended before it."""
    deadline = time.monotonic() + _LONGEST
    if rng.random() < _START:
        if machines.wait(float(rng.uniform(0, undisturbed.first))) is not None:
            return None
        return "start"
    name = str(rng.choice(sorted(job.moments)))
    before = job.state(name, folder)  # of the moment before, or of what was killed
    after = float(rng.uniform(0, min(job.moments[name][1], undisturbed.whole - undisturbed.first)))
    while time.monotonic() < deadline:
        if machines.wait(0.005) is not None:
            return None
        if (state := job.state(name, folder)) and state != before:
            return name if machines.wait(after) is None else None
    return None


def disturb(
    rng: np.random.Generator,
    job: Job,
    machines: Machines,
    folder: Path,
    undisturbed: Undisturbed,
    outcome: Outcome,
    most: int,
) -> None:
    """Stop the command for a while at random moments until one of them kills it, ``most`` times at most."""
    for _ in range(most):
        moment = wait_for_moment(rng, job, machines, folder, undisturbed)
        if moment is None:
            return
        victim, pids = choose_victims(rng, machines)
        name = "STOP" if rng.random() < _STOPS else str(rng.choice(["INT", "KILL", "TERM"]))
        outcome.kills.append((moment, victim, name))
        send(pids, SIGNALS[name])
        if name == "STOP":
            time.sleep(float(rng.uniform(0.1, _STOPPED)))
            send(pids, signal.SIGCONT)
        elif victim != "worker" or name == "KILL":  # a worker may leave a Ctrl-C to its rank
            outcome.ends.append(round(machines.require_end(_END, outcome.faults), 1))
            return


def run_trial(
    job: Job, folder: Path, seed: int, kills: int, undisturbed: Undisturbed, until: float = math.inf
) -> Outcome:
    """Kill a job ``kills`` times, run it to its end, and compare.

    Args:
        job: the command.
        folder: an empty folder for its results; the output is beside it, with the suffix ``.log``.
        seed: of moments, victims and signals.
        kills: how many at most.
        undisturbed: what the results must be, and how long it takes.
        until: when to kill no more, on the monotonic clock.
    """
    rng, outcome, again, done, code = np.random.default_rng(seed), Outcome(), False, False, None
    log = folder.with_suffix(".log")
    while not done:
        machines = Machines(job, folder, again, f"{folder.name}-{seed}", log)
        again, last = True, len(outcome.kills) >= kills or time.monotonic() > until
        try:
            if not last:
                disturb(rng, job, machines, folder, undisturbed, outcome, kills - len(outcome.kills))
            code = machines.wait(_LONGEST)
            machines.require_end(_END, outcome.faults)
        finally:
            machines.end()
        done = job.is_done(folder)  # at the end, before the kill, or in spite of it
        if not done and (last or code == 0):
            outcome.faults.append(f"the {'last run' if last else 'killed run'} ended with {code} and is not complete")
            break
    if done:
        outcome.faults += compare(undisturbed.results, dict(job.results(folder)))
    if has_traceback(log.read_text(errors="replace")):
        outcome.faults.append("a traceback in the output")
    return outcome


def has_traceback(text: str) -> bool:
    """Return whether there is a traceback, other than of a Ctrl-C before Python has come to the first line."""
    blocks = text.split("Traceback (most recent call last)")[1:]
    return any(str(ROOT) in block or "KeyboardInterrupt" not in block for block in blocks)


def compare(expected: Mapping[str, object], found: Mapping[str, object]) -> Sequence[str]:
    """Return what differs, one line each."""
    lines = [f"lacks {name}" for name in expected.keys() - found.keys()]
    # A run that was asked to stop has written one more snapshot. What is hidden is unfinished.
    lines += [f"left over: {name}" for name in found if any(part.startswith(".") for part in Path(name).parts)]
    both = expected.keys() & found.keys()
    return lines + [f"{name} differs" for name in both if not _is_same(expected[name], found[name])]


def _is_same(expected: object, found: object) -> bool:
    if isinstance(expected, np.ndarray):
        # A small mean of the means of two ranks, which are large, is known to the last bits of the latter alone.
        return bool(np.allclose(expected, found, rtol=1e-5, atol=1e-7 + 1e-6 * np.abs(expected).max()))
    return expected == found
