"""Ctrl-C while a command still imports."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys

import pytest

from tests.support.commands import ROOT

COMMANDS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("insightface_*.py", "tools/**/*.py", "benchmarks/bench_*.py")
    for path in ROOT.glob(pattern)
    if "run_command(main)" in path.read_text()
)
# Runs a command and presses Ctrl-C when it imports a module.
PRESS = """
import os, runpy, signal, sys
module, *sys.argv = sys.argv[1:]
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press())
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_ctrl_c_does_before_it_imports_anything_that_takes_long(name: str) -> None:
    body = ast.parse((ROOT / name).read_text()).body
    lines = [ast.unparse(line) for line in body[2:7]]  # after the docstring and __future__
    if "/" in name:
        above = "dirname(" * (name.count("/") + 1) + "realpath(__file__" + ")" * (name.count("/") + 2)
        path = ["import sys", "from os.path import dirname, realpath", f"sys.path.insert(0, {above})"]
        assert lines[:3] == path
        lines = lines[3:]
    assert lines[:2] == ["from common.interrupts import end_on_interrupt", "end_on_interrupt(__name__)"]


def press(module: str, command: str, **options: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", PRESS, module, str(ROOT / command), "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize(
    ("command", "module"),
    [("insightface_train.py", "sample_config"), ("insightface_val.py", "numpy"), ("tools/embed.py", "argparse")],
)
def test_it_ends_in_one_line_with_the_code_of_an_interrupted_command(command: str, module: str) -> None:
    done = press(module, command)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_an_ignored_ctrl_c_stays_ignored() -> None:
    done = press(
        "sample_config", "insightface_train.py", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)
    )
    assert done.returncode == 0 and "--network" in done.stdout and done.stderr == ""
