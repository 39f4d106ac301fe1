"""Commands of a campaign with all their processes, which are found by a mark in their environment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_MARK = "INSIGHTFACE_CAMPAIGN"
# Sums depend on the number of threads. Threads without work sleep at once, because all cores are busy.
_THREADS = {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}


def marked_processes(mark: str) -> dict[int, int]:
    """Return the living processes with ``mark``: their parents by process number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            if f"{_MARK}={mark}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            state, parent = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            if state != "Z":
                found[int(folder.name)] = int(parent)
    return found


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to processes, some of which may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Command:
    """A running command and all its processes; ``end`` leaves none of them."""

    def __init__(
        self, words: Sequence[str], mark: str, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start ``python WORDS``; its output is appended to ``log``."""
        self.mark, self.log = f"{mark}-{os.getpid()}", log  # campaigns may run side by side
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env={**os.environ, **_THREADS, **(environment or {}), _MARK: self.mark, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                preexec_fn=_heed_ctrl_c,
            )
        self.began = time.monotonic()

    def wait(self, seconds: float) -> int | None:
        """Return the exit code; None if it still runs after ``seconds``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(max(seconds, 0))
        return None

    def has_ended(self) -> bool:
        """Return whether no process of it is left."""
        return self.process.poll() is not None and not marked_processes(self.mark)

    def processes(self) -> list[int]:
        """Return its living processes."""
        return list(marked_processes(self.mark))

    def end(self) -> None:
        """Kill what is left."""
        while left := marked_processes(self.mark):
            send(list(left), signal.SIGKILL)
            self.process.poll()
            time.sleep(0.05)
        self.process.wait()


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where a script has started the campaign in the background
