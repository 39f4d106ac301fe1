from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.commands import ROOT

PROGRAM = """
import resource, sys
from common.errors import run_command
from common.open_files import require_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
run_command(lambda: require_open_files() or print(resource.getrlimit(resource.RLIMIT_NOFILE)))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "out", "err"),
    [
        (32, 512, "(128, 512)\n", ""),
        (200, 512, "(200, 512)\n", ""),
        (20, 32, "", "error: the limit on open files is 32, below the 128 that a run may take; raise it (ulimit -n)\n"),
    ],
)
def test_the_limit_on_open_files_is_raised_or_refused(soft: int, hard: int, out: str, err: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(soft), str(hard)], cwd=ROOT, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == (out, err, 1 if err else 0)
