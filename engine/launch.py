"""Starts the ranks of this node and watches over them.

Whoever dies first, raises or falls silent ends all: the others are stopped within seconds, the culprit's own message is
what the user sees, and every rank's full output stays in ``log_dir``.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import UserError
from engine.reporting import PIPE_VARIABLE

_GRACE_SECONDS = 2.0  # between the first death and the look at who reported what
_TAIL_LINES = 15
_INTERRUPTED = 130  # what shells expect after Ctrl-C


def is_rank() -> bool:
    """Tell whether a launcher (this one or oneflow.distributed.launch) started this process as a rank."""
    # Importing OneFlow outside a launcher sets RANK to -1.
    return int(os.environ.get("RANK", "-1")) >= 0


def choose_device(config: Mapping[str, Any]) -> tuple[str, int]:
    """Return ("cpu" or "cuda", ranks on this node) for the config's ``device`` and ``device_num_per_node``.

    Raises:
        UserError: CUDA was asked for and there are not enough GPUs, or ``use_bf16`` does not go with the rest.
    """
    if config["use_bf16"] and not config["native_ops"]:
        raise UserError("--use_bf16 1 computes by the CPU kernels that --native_ops 0 switches off; give one of them")
    wanted = config["device_num_per_node"]
    gpus = 0 if config["device"] == "cpu" else _count_gpus()
    if config["device"] == "cpu" or (config["device"] == "auto" and gpus == 0):
        return "cpu", wanted or 1
    if gpus < max(wanted, 1):
        raise UserError(f"{max(wanted, 1)} rank(s) per node asked for, {gpus} GPU(s) visible; --device cpu needs none")
    if config["use_bf16"]:
        raise UserError("--use_bf16 1 is for the CPU, and GPUs were chosen; add --device cpu or leave it away")
    return "cuda", wanted or gpus


def _count_gpus() -> int:
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    present = sum(line.startswith("GPU ") for line in listing.splitlines())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return present if visible is None else min(present, len([item for item in visible.split(",") if item.strip()]))


@dataclass
class _Rank:
    number: int
    process: subprocess.Popen
    pipe: int
    log: Path
    last_sign: float = field(default_factory=time.monotonic)
    failure: str | None = None
    finished: bool = False
    pending: bytes = b""
    code: int | None = None


class Supervisor:
    """The ranks of one node, from start to end."""

    def __init__(self, config: Mapping[str, Any], ranks: int, log_dir: Path) -> None:
        self._config = config
        self._count = ranks
        self._log_dir = log_dir
        self._ranks: list[_Rank] = []
        self._selector = selectors.DefaultSelector()
        self._stops = 0

    def run(self, command: Sequence[str]) -> int:
        """Start ``command`` once per rank, wait for all, return the exit code: 0, 1 after a failure, 130 after Ctrl-C.

        A first Ctrl-C lets the ranks end the step and write a snapshot, a second one ends them at once.
        """
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._start(command)
            return self._watch()
        finally:
            self._kill()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _start(self, command: Sequence[str]) -> None:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        first = self._config["node_rank"] * self._count
        shared = {
            "MASTER_ADDR": self._config["node_ips"][0],
            "MASTER_PORT": str(self._config["master_port"] or _free_port()),
            "WORLD_SIZE": str(self._count * self._config["num_nodes"]),
        }
        threads = str(max(1, (os.cpu_count() or 1) // self._count))
        for local in range(self._count):
            read_end, write_end = os.pipe()
            environment = {"OMP_NUM_THREADS": threads, **os.environ, **shared}
            environment |= {"RANK": str(first + local), "LOCAL_RANK": str(local), PIPE_VARIABLE: str(write_end)}
            log = self._log_dir / f"rank-{first + local}.log"
            with open(log, "wb") as errors:
                process = subprocess.Popen(
                    command, env=environment, pass_fds=(write_end,), start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=None if local == 0 else errors, stderr=errors,
                )  # fmt: skip
            os.close(write_end)
            os.set_blocking(read_end, False)
            rank = _Rank(first + local, process, read_end, log)
            self._ranks.append(rank)
            self._selector.register(read_end, selectors.EVENT_READ, rank)

    def _watch(self) -> int:
        while any(rank.code is None for rank in self._ranks):
            self._listen(0.1)
            if all(rank.finished for rank in self._ranks) and self._config["num_nodes"] == 1:
                break  # they would linger for ranks of other nodes
            culprit = next((rank for rank in self._ranks if rank.code not in (None, 0)), None)
            if culprit is None:
                culprit = self._find_silent()
            if culprit is not None:
                if self._was_interrupted(culprit):
                    return _INTERRUPTED
                return self._report(culprit)
        return _INTERRUPTED if self._stops else 0

    def _was_interrupted(self, rank: _Rank) -> bool:
        """Tell whether a rank's end is what Ctrl-C asked for: its second time, or before the rank had started."""
        return self._stops > 1 or (self._stops == 1 and rank.code in (_INTERRUPTED, -signal.SIGINT))

    def _listen(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            rank: _Rank = key.data
            with contextlib.suppress(BlockingIOError):
                data = os.read(rank.pipe, 1 << 16)
                if not data:
                    self._selector.unregister(rank.pipe)
                    continue
                self._digest(rank, data)
        for rank in self._ranks:
            if rank.code is None:
                rank.code = rank.process.poll()
            if rank.finished and rank.code is not None:
                rank.code = 0  # what OneFlow does to a process after its work is of no interest

    def _digest(self, rank: _Rank, data: bytes) -> None:
        rank.last_sign = time.monotonic()
        *lines, rank.pending = (rank.pending + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            rank.failure = message.get("failed", rank.failure)
            rank.finished = message.get("finished", rank.finished)

    def _find_silent(self) -> _Rank | None:
        silent = min((rank for rank in self._ranks if rank.code is None), key=lambda rank: rank.last_sign, default=None)
        limit = self._config["rank_timeout"]
        if silent is None or time.monotonic() - silent.last_sign < limit:
            return None
        silent.failure = f"error: rank {silent.number} gave no sign of life for {limit} s (--rank_timeout)"
        return silent

    def _report(self, culprit: _Rank) -> int:
        """Print the failing rank's message; a rank that reported a reason goes before one that was only torn down."""
        deadline = time.monotonic() + _GRACE_SECONDS
        while culprit.failure is None and time.monotonic() < deadline:
            self._listen(0.1)
            culprit = next((rank for rank in self._ranks if rank.failure), culprit)
        self._listen(0)
        self._kill()
        head = f"rank {culprit.number} of {self._count * self._config['num_nodes']} failed"
        if culprit.failure is None:
            how = f"signal {signal.Signals(-culprit.code).name}" if culprit.code < 0 else f"exit code {culprit.code}"
            tail = culprit.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
            print(f"{head}: it ended by {how}", *tail, sep="\n", file=sys.stderr)
        elif culprit.failure.startswith("error: "):
            print(culprit.failure, file=sys.stderr)
        else:
            print(f"{head}:", culprit.failure, sep="\n", file=sys.stderr)
        print(f"all ranks were stopped; their full output is in {self._log_dir}", file=sys.stderr)
        return 1

    def _on_signal(self, number: int, frame: object) -> None:
        self._stops += 1
        if self._stops == 1:
            print("stopping after this step; once more ends at once", file=sys.stderr)
            for rank in self._ranks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rank.process.pid, signal.SIGINT)
        else:
            self._kill()

    def _kill(self) -> None:
        for rank in self._ranks:
            if rank.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(rank.process.pid, signal.SIGKILL)
        for rank in self._ranks:
            rank.process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(config: Mapping[str, Any], ranks: int, log_dir: Path, argv: Sequence[str]) -> int:
    """Run this program's own command line as ``ranks`` supervised ranks and return the exit code."""
    return Supervisor(config, ranks, log_dir).run([sys.executable, "-u", sys.argv[0], *argv])
