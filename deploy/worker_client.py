"""Start a worker and ask it: a runtime in a process of its own, which may crash or hang without harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
from types import TracebackType
from typing import Any

from common.errors import UserError
from deploy.environment import ROOT, Environment, MissingPackage

TIMEOUT = 3600.0  # seconds that a request may take
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class RuntimeFault(UserError):
    """A runtime cannot read or run a file: its message, or how its process ended."""


class Worker:
    """A process with one module of ``deploy.runtimes`` or ``deploy.conversions``; a context manager that ends it.

    With ``cores`` 1 the process is bound to one core.
    """

    def __init__(self, module: str, package: str, environment: Environment, cores: int = 0) -> None:
        """Start the process.

        Args:
            module: the module below ``deploy``, such as ``runtimes.ort``.
            package: the name of its package for messages.
            environment: where the package is.
            cores: 1 for one core, 0 for all.

        Raises:
            MissingPackage: the environment is not there.
        """
        if not environment.python.is_file():
            raise MissingPackage(package, environment)
        self._package, self._environment, self._cores = package, environment, cores
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed at exit)
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        if cores:
            variables |= dict.fromkeys(_THREAD_VARIABLES, str(cores))
        self._process = subprocess.Popen(
            [str(environment.python), "-m", "deploy.worker", f"deploy.{module}", str(cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=variables,
            text=True,
        )

    def ask(self, do: str, timeout: float = TIMEOUT, **details: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            MissingPackage: the environment lacks the package.
            RuntimeFault: the runtime failed, crashed, or did not answer within ``timeout`` seconds.
        """
        timer = threading.Timer(timeout, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps({"do": do, **details}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timed_out = not timer.is_alive()
            timer.cancel()
        if not line:
            raise RuntimeFault(f"{self._package}: {self._describe_end(timeout if timed_out else 0)}")
        result = json.loads(line)
        if "missing" in result:
            raise MissingPackage(result["missing"] or self._package, self._environment)
        if "error" in result:
            raise RuntimeFault(f"{self._package}: {' '.join(result['error'].split())}")
        return result

    def load(self, path: str, size: int, options: dict[str, Any]) -> str:
        """Load a model and return the version of the runtime; see ``ask`` for what is raised."""
        details = {"size": size, "threads": self._cores, "options": options, "package": self._package}
        return self.ask("load", path=os.path.abspath(path), **details)["version"]

    def pause(self) -> None:
        """Stop the process between requests: threads of some runtimes spin while they wait, and disturb others."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._process.send_signal(signal.SIGCONT)

    def _describe_end(self, timeout: float) -> str:
        code = self._process.wait()
        if timeout:
            return f"no answer within {timeout:g} s"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its process ended with {how}{f' after: {lines[-1][:200]}' if lines else ''}"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()
