"""A full disk at the log of a rank ends neither the rank nor what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch.rank_process import RankProcess, _tee

ROOT = Path(__file__).resolve().parents[2]


def test_output_is_copied_to_the_console_alone(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tmp_path / "rank-0.log").symlink_to("/dev/full")
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb", buffering=0) as output:
        output.write(b"Epoch[0]\n")
    _tee(os.fdopen(read_end, "rb", buffering=0), tmp_path / "rank-0.log")
    out, err = capfdbinary.readouterr()
    assert out == b"Epoch[0]\n"
    assert err.decode() == (
        f"{tmp_path / 'rank-0.log'} cannot be written (No space left on device); the training continues without it\n"
    )


def test_a_rank_whose_log_cannot_be_opened_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "rank-0.log"
    log.mkdir()
    rank = RankProcess.start(0, ["sh", "-c", "echo hello; exit 3"], dict(os.environ), 0, log, show=True)
    rank.wait()
    rank.poll()
    assert (rank.code, rank.has_output(), rank.describe_end()) == (3, False, "it ended by exit code 3")
    out, err = capfd.readouterr()
    assert out == "hello\n"
    assert err == f"{log} cannot be written (Is a directory); the training continues without it\n"


def test_oneflow_s_reason_stands_for_the_stack_that_follows(tmp_path: Path) -> None:
    log = tmp_path / "rank-0.log"
    said = (
        "I20261129 09:18:53.1 7 env.cpp:1] begins\nF20261129 09:18:53.104113   77 socket.cpp:9] Check failed: a == b \n"
    )
    program = f"import os, sys; sys.stderr.write({said + '    @  0x7f  (unknown)'!r}); sys.stderr.flush(); os.abort()"
    rank = RankProcess.start(0, [sys.executable, "-c", program], dict(os.environ), 0, log, show=False)
    rank.wait()
    rank.poll()
    assert rank.describe_end() == "OneFlow ended it: socket.cpp:9] Check failed: a == b"


def test_a_rank_that_was_killed_for_want_of_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "rank-0.log"
    command = ["sh", "-c", "echo hello; kill -KILL $$"]
    said = []
    for killed in (7, 8):  # by the system, once the rank has started
        monkeypatch.setattr("launch.rank_process.processes_killed_for_memory", lambda: 7)
        rank = RankProcess.start(0, command, dict(os.environ), 0, log, show=False)
        rank.wait()
        rank.poll()
        monkeypatch.setattr("launch.rank_process.processes_killed_for_memory", lambda killed=killed: killed)
        said.append(rank.describe_end())
    assert said == [
        "it ended by signal SIGKILL\nhello",
        "it ended by signal SIGKILL: memory ran out, and the system killed it; use smaller batches",
    ]


def test_a_rank_reports_its_failure_all_the_same() -> None:
    read_end, write_end = os.pipe()
    program = "from launch.rank import RankReporter; RankReporter().fail(ValueError('seven'))"
    environment = {**os.environ, "INSIGHTFACE_REPORT_FD": str(write_end)}
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=ROOT, env=environment, pass_fds=(write_end,), stdout=full, stderr=full)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as reports:
        assert b"ValueError: seven" in reports.read()
    assert done.returncode == 1
