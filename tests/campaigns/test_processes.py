"""Campaigns that run side by side leave each other's commands alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.campaigns.processes import ROOT, Command

SLEEP = ["-c", "import time; time.sleep(600)"]
OTHER_CAMPAIGN = f"""
import sys
from pathlib import Path
from tests.campaigns.processes import Command
command = Command({SLEEP!r}, "trial", Path(sys.argv[1]))
print("started", flush=True)
input()
print(command.process.poll(), flush=True)
command.end()
print(command.has_ended(), command.process.returncode)
"""


def test_the_end_of_a_command_ends_no_command_of_another_campaign(tmp_path: Path) -> None:
    words = [sys.executable, "-c", OTHER_CAMPAIGN, str(tmp_path / "other.log")]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "started\n"
        own = Command(SLEEP, "trial", tmp_path / "own.log")
        own.end()
        assert own.has_ended() and own.process.returncode == -9
        assert other.communicate("\n", timeout=60)[0] == "None\nTrue -9\n"
