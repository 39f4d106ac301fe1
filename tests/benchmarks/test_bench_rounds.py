from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.contestants import Contestant
from benchmarks.rounds import run_rounds
from benchmarks.worker import WorkerError

GIB = 2**30


@dataclass
class FakeWorker:
    name: str
    events: list[str]
    seconds: list[float]
    label: str = "fake"
    results: list[float] = field(default_factory=lambda: [1.0])
    peak_bytes: int = 4 * GIB

    def measure(self, seconds: float) -> list[float]:
        self.events.append(f"{self.name} runs")
        if not self.seconds:
            raise WorkerError("out of steps")
        return [self.seconds.pop(0)]

    def close(self) -> None:
        self.events.append(f"{self.name} ends")


@dataclass(frozen=True)
class FakeContestant(Contestant):
    events: list[str] = field(default_factory=list)
    seconds: tuple[float, ...] = ()

    def start(self, job: Any, log: Path) -> FakeWorker:
        self.events.append(f"{self.name} starts")
        if self.program == "broken":
            raise WorkerError("cannot run")
        return FakeWorker(self.name, self.events, list(self.seconds))


def run(contestants: list[FakeContestant], available: int = 100 * GIB) -> list:
    return run_rounds(contestants, {"pass": "train"}, rounds=2, seconds=1.0, available=lambda: available)


@pytest.fixture
def events() -> list[str]:
    return []


def test_contestants_take_turns_and_live_on_between_them(events):
    a, b = (FakeContestant(name, "fine", "float32", events=events, seconds=(1.0, 2.0)) for name in "ab")
    measured = run([a, b])
    assert events == ["a starts", "a runs", "b starts", "b runs", "a runs", "b runs", "a ends", "b ends"]
    assert [entry.times for entry in measured] == [[1.0, 2.0]] * 2
    assert measured[0].results == [1.0]


def test_processes_end_after_their_turn_when_memory_is_short(events):
    a = FakeContestant("a", "fine", "float32", events=events, seconds=(1.0,))
    measured = run([a], available=7 * GIB)
    assert events == ["a starts", "a runs", "a ends"] * 2
    assert measured[0].times == [1.0, 1.0]


def test_who_cannot_start_is_not_asked_again(events):
    broken = FakeContestant("a", "broken", "float32", events=events)
    fine = FakeContestant("b", "fine", "float32", events=events, seconds=(1.0, 1.0))
    measured = run([broken, fine])
    assert events.count("a starts") == 1
    assert (measured[0].failure, measured[1].failure) == ("cannot run", "")


def test_who_fails_later_is_ended_and_says_why(events):
    failing = FakeContestant("a", "fine", "float32", events=events, seconds=(1.0,))
    (measured,) = run([failing])
    assert measured.failure == "out of steps"
    assert events[-1] == "a ends"
