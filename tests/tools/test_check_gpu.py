from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from tools import check_gpu
from tools.check_gpu import CHECKS, Check

ROOT = Path(__file__).resolve().parents[2]


def run(*argv: str, timeout: float = 60) -> subprocess.CompletedProcess:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, "tools/check_gpu.py", *argv],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def test_without_a_gpu_it_says_that_nothing_was_checked() -> None:
    done = run()
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert done.stderr.startswith("error: no GPU found") and "nothing was checked" in done.stderr


def test_an_unknown_check_lists_the_known_ones() -> None:
    done = run("--rehearse", "1", "--only", "speed")
    assert done.returncode == 1 and done.stderr.startswith("error: unknown check 'speed'; known: accumulation, ")


@pytest.mark.parametrize(("difference", "passed"), [(0.02, False), (0.001, True)])
def test_a_check_is_judged_by_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, difference: float, passed: bool
) -> None:
    monkeypatch.setattr(check_gpu, "compare_training", lambda *_: difference)
    assert check_gpu.check("replicated", (), Path()) is passed
    assert ("FAILED" in capsys.readouterr().out) is not passed


def test_a_run_that_fails_is_a_failed_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def fail(check: Check, *_: object) -> float:
        raise UserError("CUDA went away")

    monkeypatch.setattr(check_gpu, "compare_training", fail)
    assert not check_gpu.check("replicated", (), Path())
    assert "failed  CUDA went away" in capsys.readouterr().out


@pytest.mark.slow
def test_the_rehearsal_passes() -> None:
    done = run("--rehearse", "1", timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO GPU IS CHECKED" in done.stdout and "mixed precision" in done.stdout
    assert done.stdout.count("passed") == len(CHECKS) - 1 + 1  # without mixed precision, with verification
