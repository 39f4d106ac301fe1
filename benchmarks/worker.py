"""Control a worker process from the benchmark: start it, request measurements, stop it while others run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


class WorkerError(Exception):
    """A contestant cannot run here or has failed; the message gives the reason in one line."""


class Worker:
    """A worker process, stopped by a signal between its turns: spinning threads would slow down the others."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], job: Mapping[str, Any], log: Path
    ) -> None:
        """Start ``command`` with additions to the environment, send the job, and wait until it is ready.

        Raises:
            WorkerError: the worker could not be started, or failed.
        """
        self._log = log
        with open(log, "ab") as errors:
            try:
                self._process = subprocess.Popen(
                    command,
                    env={**os.environ, **environment},
                    cwd=ROOT,
                    text=True,
                    start_new_session=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                )
            except OSError as error:
                raise WorkerError(f"{command[0]}: {error.strerror}") from error
        self.peak_bytes = 0
        try:
            ready = self._ask(job)
        except BaseException:
            self.close()
            raise
        self.label: str = ready["label"]
        self.results: list[float] = ready["results"]

    def measure(self, seconds: float) -> list[float]:
        """Return the seconds of each step of a turn of about ``seconds``.

        Raises:
            WorkerError: the worker failed.
        """
        with self._awake():
            return self._ask({"seconds": seconds})["times"]

    def close(self) -> None:
        """Kill the process, which holds no unsaved data. May be called twice."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):  # input that the worker has not read
                pipe.close()

    @contextmanager
    def _awake(self) -> Iterator[None]:
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(self._describe_end())
        answer = json.loads(line)
        if "failed" in answer:
            raise WorkerError(answer["failed"])
        self.peak_bytes = answer["peak_bytes"]
        return answer

    def _describe_end(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}; memory may have run out"
        last = self._log.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
        return f"its process ended with exit code {code}: {last[0]}"
