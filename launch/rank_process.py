"""One rank as its supervisor sees it: a process, the reports that it sends, and the log of its output."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from common.append_file import AppendFile
from common.free_memory import processes_killed_for_memory
from launch.rank import PIPE_VARIABLE, SETTINGS_VARIABLE

_DRAIN_SECONDS = 5.0  # for the output of an ended rank to reach console and log
_TAIL_LINES = 15
# Before OneFlow aborts it says why, in glog's form: severity and date, time, thread, place and message.
_FATAL = re.compile(r"^F\d{8} \S+ +\d+ (\S+\] .+)", re.MULTILINE)


@dataclass
class RankProcess:
    """A running or ended rank.

    Attributes:
        number: among the ranks of all machines.
        process: the leader of a session that holds the rank and its children.
        pipe: read end of the pipe that reports come through.
        log: file of the rank's output.
        console: copies the output to this process' stdout; None for all ranks but one.
        last_heartbeat: time of the last report, on the monotonic clock.
        failure: the reason that the rank reported, None so far.
        finished: whether the rank reported the end of its work.
        stopped: whether a signal ended its work.
        code: exit code as of ``subprocess``, 0 for a finished rank; None while it runs.
        killed_before: processes that the system had killed for want of memory when the rank started.
    """

    number: int
    process: subprocess.Popen
    pipe: int
    log: Path
    console: threading.Thread | None
    last_heartbeat: float = field(default_factory=time.monotonic, init=False)
    failure: str | None = field(default=None, init=False)
    finished: bool = field(default=False, init=False)
    stopped: bool = field(default=False, init=False)
    code: int | None = field(default=None, init=False)
    killed_before: int = field(default_factory=lambda: processes_killed_for_memory(), init=False)
    _pending: bytes = field(default=b"", init=False)

    @classmethod
    def start(
        cls, number: int, command: Sequence[str], environment: Mapping[str, str], settings: int, log: Path, show: bool
    ) -> RankProcess:
        """Start rank ``number``.

        Args:
            number: among the ranks of all machines.
            command: the rank's command line.
            environment: variables for the rank, in addition to this process' and those of ``launch.rank``.
            settings: descriptor of the file that holds the run's settings.
            log: where stdout and stderr go; an older file is replaced.
            show: copy stdout to this process' stdout, too.
        """
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        variables = {**environment, PIPE_VARIABLE: str(write_end), SETTINGS_VARIABLE: str(settings)}
        with _open_log(log) as output:
            process = subprocess.Popen(
                command,
                env=variables,
                pass_fds=(write_end, settings),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if show else output,
                stderr=output,
            )
        os.close(write_end)
        console = None
        if show:
            sys.stdout.flush()
            console = threading.Thread(target=_tee, args=(process.stdout, Path(output.name)), daemon=True)
            console.start()
        return cls(number, process, read_end, log, console)

    def read_reports(self) -> bool:
        """Take in the reports that have arrived; return whether more can follow."""
        try:
            data = os.read(self.pipe, 1 << 16)
        except BlockingIOError:
            return True
        if not data:
            return False
        self.last_heartbeat = time.monotonic()
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            self.failure = message.get("failed", self.failure)
            self.finished = message.get("finished", self.finished)
            self.stopped = message.get("stopped", self.stopped)
        return True

    def poll(self) -> None:
        """Update ``code``."""
        if self.code is None:
            self.code = self.process.poll()
        if self.finished and self.code is not None:
            self.code = 0  # OneFlow may crash on shutdown; a finished rank counts as success

    def was_torn_down(self) -> bool:
        """Return whether it aborted the way OneFlow does when another rank is gone."""
        return self.failure is None and self.code == -signal.SIGABRT

    def describe_end(self) -> str:
        """Return how a rank ended that reported no reason, and OneFlow's reason or the last lines of its log."""
        how = f"signal {signal.Signals(-self.code).name}" if self.code < 0 else f"exit code {self.code}"
        if self.code == -signal.SIGKILL and processes_killed_for_memory() > self.killed_before:
            return f"it ended by {how}: memory ran out, and the system killed it; use smaller batches"
        text = self.log.read_text(errors="replace") if self.log.is_file() else ""
        if self.code == -signal.SIGABRT and (reason := _FATAL.search(text)):
            return f"OneFlow ended it: {reason[1].strip()}"
        return "\n".join([f"it ended by {how}", *text.splitlines()[-_TAIL_LINES:]])

    def has_output(self) -> bool:
        """Return whether the log holds anything."""
        return self.log.is_file() and self.log.stat().st_size > 0

    def interrupt(self) -> None:
        """Ask the rank to stop after its step."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End the rank and its children immediately."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait for the end of a killed rank, and until its output has reached console and log."""
        self.process.wait()
        if self.console is not None:
            self.console.join(_DRAIN_SECONDS)


def _open_log(log: Path) -> BinaryIO:
    """Return the log of a rank, empty; where it cannot be written, say so and return a file that takes everything."""
    try:
        log.unlink(missing_ok=True)
        return open(log, "ab")
    except OSError as error:
        print(f"{log} cannot be written ({error.strerror}); the training continues without it", file=sys.stderr)
        return open(os.devnull, "ab")


def _tee(output: BinaryIO, log: Path) -> None:
    """Copy a rank's ``output`` to this process' stdout and to the end of ``log``, until the rank closes it."""
    console = True
    file = AppendFile(log, lambda line: print(line, file=sys.stderr))
    with output, contextlib.closing(file):
        while data := os.read(output.fileno(), 1 << 16):
            file.write(data)
            try:
                if console:
                    sys.stdout.buffer.write(data)
                    sys.stdout.buffer.flush()
            except (OSError, ValueError):  # closed, as by `| head`: the run and its log continue
                console = False
                with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), sys.stdout.fileno())  # for what Python still holds for stdout
