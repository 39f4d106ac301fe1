import subprocess
import sys

PROGRAM = """
import time
from common import progress
progress._SECONDS_BETWEEN_LINES = 0.05
for _ in progress.progress(range(10), desc="work", unit="img"):
    time.sleep(0.02)
"""


def test_without_a_terminal_lines_are_written_now_and_then() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= 5
    assert all(line.startswith("work: ") and "/10 [" in line for line in lines)


def test_short_work_writes_nothing() -> None:
    program = PROGRAM.replace("0.05", "10")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_many_bars_leave_one_thread() -> None:
    program = """
import threading
from common.progress import progress
for _ in range(5):
    list(progress(range(3)))
print(threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 2
