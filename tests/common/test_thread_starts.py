"""A thread that memory no longer suffices for ends its process; Python's own ``Thread.start`` would wait forever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINE = "error: no thread can be started; memory or the number of processes (ulimit -u) is short"
FAILING = """
import threading

def refuse(thread):
    raise RuntimeError("can't allocate lock")

def main(*_):
    threading.Thread._set_tstate_lock = refuse
    threading.Thread(target=print).start()
"""
COMMAND = f"""
from common.interrupts import end_on_interrupt
end_on_interrupt("__main__")
from common.errors import run_command
{FAILING}
run_command(main)
"""
RANK = f"""
from launch.rank import run_as_rank
{FAILING}
run_as_rank(main, {{"native_ops": True}})
"""


def run(program: str, **how: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60, **how
    )


@pytest.mark.parametrize("ctrl_c", [signal.SIG_DFL, signal.SIG_IGN])  # ignored: ``command &`` in a script
def test_a_command_ends_with_one_line(ctrl_c: signal.Handlers) -> None:
    done = run(COMMAND, preexec_fn=lambda: signal.signal(signal.SIGINT, ctrl_c))
    assert (done.returncode, done.stderr) == (1, f"{LINE}\n")


def test_a_rank_reports_it() -> None:
    read_end, write_end = os.pipe()
    done = run(RANK, pass_fds=(write_end,), env={**os.environ, "INSIGHTFACE_REPORT_FD": str(write_end)})
    os.close(write_end)
    with os.fdopen(read_end) as reports:
        assert f'{{"failed": "{LINE}"}}' in reports.read()
    assert done.returncode == 1
