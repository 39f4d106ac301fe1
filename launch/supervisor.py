"""Starts the ranks of this node and watches over them.

Whoever dies first, raises or falls silent ends all: the others are stopped within seconds, on all nodes, the culprit's
own message is what the user sees, and every rank's full output stays in ``log_dir``.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from launch.rank import PIPE_VARIABLE
from launch.rendezvous import NodeLine, meet
from settings.precision import find_float_layers

_GRACE_SECONDS = 2.0  # between the first death and the look at who reported what
_ABORT_GRACE_SECONDS = 6.0  # the same for an abort with several nodes: OneFlow's answer to a death elsewhere
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


def check_bfloat16(config: Mapping[str, Any], network: NetworkGraph) -> None:
    """Check that ``use_bf16``, where it is asked for, can be had for this network.

    Raises:
        UserError: one of its layers is not known to the kernels that compute so.
    """
    unknown = find_float_layers(network)
    if config["use_bf16"] and unknown:
        raise UserError(
            f"--use_bf16 1 is not for network {config['network']}: the CPU kernels for it lack {', '.join(unknown)}; "
            "leave it away"
        )


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

    def is_consequence(self) -> bool:
        """Tell whether it died as OneFlow does when another rank is gone."""
        return self.failure is None and self.code == -signal.SIGABRT


class Supervisor:
    """The ranks of one node, from start to end."""

    def __init__(self, config: Mapping[str, Any], ranks: int, log_dir: Path) -> None:
        self._config = config
        self._count = ranks
        self._log_dir = log_dir
        self._ranks: list[_Rank] = []
        self._selector = selectors.DefaultSelector()
        self._line: NodeLine | None = None
        self._stops = 0
        self._told_stops = 0
        self._stopped_elsewhere = False
        self._finished_nodes: set[int] = set()
        self._end_elsewhere: dict[str, Any] | None = None

    def run(self, command: Sequence[str]) -> int:
        """Start ``command`` once per rank, wait for all, return the exit code: 0, 1 after a failure, 130 after Ctrl-C.

        A first Ctrl-C lets the ranks end the step and write a snapshot, a second one ends them at once.
        """
        self._line = meet(self._config, self._count)
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._start(command)
            return self._watch()
        finally:
            self._kill()
            self._line.close()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _start(self, command: Sequence[str]) -> None:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        first = self._config["node_rank"] * self._count
        shared = {
            "MASTER_ADDR": self._config["node_ips"][0],
            "MASTER_PORT": str(self._line.place.port),
            "WORLD_SIZE": str(self._count * self._config["num_nodes"]),
        }
        threads = str(max(1, (os.cpu_count() or 1) // self._count))
        for local in range(self._count):
            read_end, write_end = os.pipe()
            environment = {"OMP_NUM_THREADS": threads, **os.environ, **shared}
            number = self._line.place.first_local_rank + local
            environment |= {"RANK": str(first + local), "LOCAL_RANK": str(number), PIPE_VARIABLE: str(write_end)}
            log = self._log_dir / f"rank-{first + local}.log"
            with open(log, "wb") as errors:
                process = subprocess.Popen(
                    command,
                    env=environment,
                    pass_fds=(write_end,),
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=None if local == 0 else errors,
                    stderr=errors,
                )
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
                    self._line.tell("interrupted")
                    return _INTERRUPTED
                return self._report(culprit)
            if self._end_elsewhere is not None:
                return self._report_elsewhere(self._end_elsewhere)
        self._line.tell("finished")
        return _INTERRUPTED if self._stops or self._stopped_elsewhere else 0

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
        self._listen_to_nodes()

    def _listen_to_nodes(self) -> None:
        if self._stops and not self._told_stops:
            self._told_stops = self._stops
            self._line.tell("stopping")
        for message in self._line.listen():
            if message["kind"] == "stopping":
                self._stopped_elsewhere = True
                print(f"node {message['node']} was asked to stop; stopping after this step", file=sys.stderr)
            elif message["kind"] == "finished":
                self._finished_nodes.add(message["node"])
            elif message["node"] not in self._finished_nodes:
                self._end_elsewhere = self._end_elsewhere or message

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
        alone = self._config["num_nodes"] == 1
        start = time.monotonic()
        while culprit.failure is None and self._end_elsewhere is None:
            grace = _GRACE_SECONDS if alone or not culprit.is_consequence() else _ABORT_GRACE_SECONDS
            if time.monotonic() > start + grace:
                break
            self._listen(0.1)
            dead = [rank for rank in self._ranks if rank.failure or rank.code not in (None, 0)]
            culprit = min(dead, key=lambda rank: (rank.failure is None, rank.is_consequence()), default=culprit)
        self._listen(0)
        if self._end_elsewhere is not None and culprit.is_consequence():
            return self._report_elsewhere(self._end_elsewhere)
        self._kill()
        head = f"rank {culprit.number} of {self._count * self._config['num_nodes']} failed"
        if culprit.failure is None:
            how = f"signal {signal.Signals(-culprit.code).name}" if culprit.code < 0 else f"exit code {culprit.code}"
            tail = culprit.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
            reason = "\n".join([f"{head}: it ended by {how}", *tail])
        elif culprit.failure.startswith("error: "):
            reason = culprit.failure
        else:
            reason = f"{head}:\n{culprit.failure}"
        self._line.tell("failed", reason=reason)
        print(reason, file=sys.stderr)
        self._say_where()
        return 1

    def _report_elsewhere(self, message: Mapping[str, Any]) -> int:
        """Print how another node ended, which ends this one too."""
        self._kill()
        node = message["node"]
        if message["kind"] == "interrupted":
            print(f"node {node} was interrupted", file=sys.stderr)
            return _INTERRUPTED
        if message["kind"] == "lost":
            ip = self._config["node_ips"][node]
            print(f"error: node {node} ({ip}) is gone: its command ended or it cannot be reached", file=sys.stderr)
        else:
            print(f"node {node}: {message['reason']}", file=sys.stderr)
        self._say_where()
        return 1

    def _say_where(self) -> None:
        print(f"all ranks were stopped; their full output is in {self._log_dir}", file=sys.stderr)

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


def launch(config: Mapping[str, Any], ranks: int, log_dir: Path, argv: Sequence[str]) -> int:
    """Run this program's own command line as ``ranks`` supervised ranks and return the exit code."""
    return Supervisor(config, ranks, log_dir).run([sys.executable, "-u", sys.argv[0], *argv])
