"""The processes that the tests keep for rank programs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.ranks import close_ranks, run_ranks

PROGRAM = Path(__file__).parent / "support" / "behaving_program.py"


def ranks_of(returned: list[dict]) -> list[int]:
    return [each["rank"] for each in returned]


def processes_of(returned: list[dict]) -> list[int]:
    return [each["process"] for each in returned]


def test_programs_share_processes_until_one_fails() -> None:
    first, second = (run_ranks(PROGRAM, 2, {}) for _ in range(2))
    assert ranks_of(first) == ranks_of(second) == [0, 1]
    assert processes_of(first) == processes_of(second)
    with pytest.raises(AssertionError, match=r"rank 1 ended with code 1\n(.*\n)*.*no such thing"):
        run_ranks(PROGRAM, 2, {"fails": 1})
    third = run_ranks(PROGRAM, 2, {})
    assert ranks_of(third) == [0, 1]
    assert not set(processes_of(third)) & set(processes_of(first))


def test_the_output_of_a_failure_is_that_of_its_program() -> None:
    run_ranks(PROGRAM, 1, {"says": "the first program"})
    with pytest.raises(AssertionError) as error:
        run_ranks(PROGRAM, 1, {"says": "the second program", "fails": 0})
    assert "the second program" in str(error.value) and "the first program" not in str(error.value)


def test_a_program_without_end_is_stopped() -> None:
    (started,) = run_ranks(PROGRAM, 1, {})
    begin = time.monotonic()
    with pytest.raises(AssertionError, match="timed out"):
        run_ranks(PROGRAM, 1, {"hangs": 0}, timeout=0.5)
    assert time.monotonic() - begin < 60
    assert not Path(f"/proc/{started['process']}").exists()


def test_other_switches_start_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_ranks(PROGRAM, 1, {})
    monkeypatch.setenv("INSIGHTFACE_NATIVE", "0")
    (changed,) = run_ranks(PROGRAM, 1, {})
    assert changed["switch"] == "0" and changed["process"] != before[0]["process"]
    close_ranks(1)
    assert not os.path.exists(f"/proc/{changed['process']}")
