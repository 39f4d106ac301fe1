"""The short form of the campaign of kills: two commands, each killed at one moment."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.campaigns.disk.places import slow_writes
from tests.campaigns.kills.campaign import run_undisturbed
from tests.campaigns.kills.jobs import Job, training_jobs, writing_jobs
from tests.campaigns.kills.trial import compare
from tests.campaigns.processes import Command, marked_processes, send
from tests.campaigns.small_runs import write_sets

NOTHING = Path("/nonexistent")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_sets(folder)
    return folder


def kill_all(command: Command, number: signal.Signals) -> None:
    send(list(marked_processes(command.mark)), number)


def kill_launcher(command: Command, number: signal.Signals) -> None:
    send([command.process.pid], number)


def run(job: Job, folder: Path, again: bool, environment: dict[str, str] | None = None) -> Command:
    (words,) = job.commands(folder, again)
    return Command(words, folder.name, folder.with_suffix(".log"), environment)


def test_statistics_may_differ_in_the_last_bits_of_their_largest() -> None:
    whole = {"means": np.float32([3650.8774, 0.36253476])}
    assert compare(whole, {"means": whole["means"] + np.float32(5e-4)}) == []
    assert compare(whole, {"means": whole["means"] + np.float32(5e-2)}) == ["means differs"]


@pytest.mark.parametrize(
    ("name", "moment", "kill", "number"),
    [
        ("Partial FC, mapped files", "snapshot", kill_all, signal.SIGKILL),
        ("recordio to OFRecord", "writing", kill_launcher, signal.SIGKILL),
    ],
)
def test_a_killed_command_that_runs_again_brings_the_results_of_an_undisturbed_one(
    sets: Path, tmp_path: Path, name: str, moment: str, kill: Callable, number: signal.Signals
) -> None:
    job = {**training_jobs(sets), **writing_jobs(sets, NOTHING)}[name]
    whole = run_undisturbed(job, tmp_path / "whole")
    folder = tmp_path / "killed"
    folder.mkdir()
    killed = run(job, folder, False, slow_writes(tmp_path))  # so that the moment lasts
    try:
        while not job.state(moment, folder):
            assert killed.wait(0.005) is None, folder.with_suffix(".log").read_text()
        kill(killed, number)
        deadline = time.monotonic() + 60
        while not killed.has_ended():
            assert time.monotonic() < deadline, "processes are left"
            time.sleep(0.05)
        assert not job.is_done(folder)
        again = run(job, folder, True)
        assert again.wait(300) == 0, folder.with_suffix(".log").read_text()
    finally:
        killed.end()
    assert compare(whole.results, dict(job.results(folder))) == []
    assert "Traceback" not in folder.with_suffix(".log").read_text()
