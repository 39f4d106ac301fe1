"""Starts the ranks of this node and watches them.

If a rank exits, raises or stops responding, the supervisor stops every rank on every machine within seconds and prints
that rank's message. Each rank's full output is kept in ``log_dir``/rank-N.log; rank 0's is on the console too.
"""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.files import make_directory
from launch.join_token import TOKEN_VARIABLE
from launch.machine_link import MachineLink
from launch.notices import say
from launch.options import LaunchOptions
from launch.rank import INTERRUPTED, stop_signals
from launch.rank_process import RankProcess
from launch.rendezvous import rendezvous

_GRACE_SECONDS = 2.0  # after the first failure, for the rank that caused it to report
_ABORT_GRACE_SECONDS = 6.0  # the same where several nodes run: OneFlow aborts when a rank elsewhere is gone
_AT_ONCE_SECONDS = 30.0  # for ranks that stop at once, which unwind and remove temporary files
_SILENCE_SECONDS = 45.0  # after which a rank of several machines is named, as the network may be the cause
_AFTER_STEP = "stopping after this step; press Ctrl-C again to stop immediately"
_AT_ONCE = "stopping"


class Supervisor:
    """Runs the ranks of one node from start to end."""

    def __init__(self, config: Mapping[str, Any], ranks: int, log_dir: Path, stops_at_once: bool = False) -> None:
        """Take the settings, the number of ranks here, and whether they stop within a step when they are asked to."""
        self._config = config
        self._on_stop = _AT_ONCE if stops_at_once else _AFTER_STEP
        self._options = LaunchOptions.from_config(config)
        self._count = ranks
        self._log_dir = log_dir
        self._ranks: list[RankProcess] = []
        self._selector = selectors.DefaultSelector()
        self._link: MachineLink | None = None
        self._stops_at_once = stops_at_once
        self._stops = 0  # signals so far
        self._answered_stops = 0
        self._stop_limit = math.inf  # on the monotonic clock
        self._sent_stops = 0
        self._stopped_elsewhere = False
        self._finished_nodes: set[int] = set()
        self._end_elsewhere: dict[str, Any] | None = None
        self._silence = 0.0
        self._usual_silence = self._next_notice = _SILENCE_SECONDS

    def run(self, command: Sequence[str]) -> int:
        """Run ``command`` once per rank and return the exit code: 0, 1 after a failure, 130 after Ctrl-C.

        On the first Ctrl-C, SIGTERM or SIGHUP the ranks finish the step and write a snapshot; the second one stops
        them immediately. SIGHUP is ignored if this process ignores it, as under nohup.
        """
        self._link = rendezvous(self._config, self._count)
        previous = {number: signal.signal(number, self._on_signal) for number in stop_signals()}
        try:
            self._start(command)
            return self._watch()
        finally:
            self._kill()
            self._link.close()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _start(self, command: Sequence[str]) -> None:
        make_directory(self._log_dir, "--log_dir")
        first = self._options.node_rank * self._count
        shared = {
            "MASTER_ADDR": self._options.node_ips[0],
            "MASTER_PORT": str(self._link.assignment.port),
            "WORLD_SIZE": str(self._count * self._options.num_nodes),
        }
        threads = str(max(1, (os.cpu_count() or 1) // self._count))
        settings = _write_settings(self._config)
        inherited = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
        for local in range(self._count):
            environment = {"OMP_NUM_THREADS": threads, **inherited, **shared}
            local_rank = self._link.assignment.first_local_rank + local
            environment |= {"RANK": str(first + local), "LOCAL_RANK": str(local_rank)}
            log = self._log_dir / f"rank-{first + local}.log"
            rank = RankProcess.start(first + local, command, environment, settings, log, show=local == 0)
            self._ranks.append(rank)
            self._selector.register(rank.pipe, selectors.EVENT_READ, rank)
        os.close(settings)

    def _watch(self) -> int:
        while any(rank.code is None for rank in self._ranks):
            self._read_reports(0.1)
            if all(rank.finished for rank in self._ranks) and self._options.num_nodes == 1:
                break  # without waiting for the ranks to stop lingering
            culprit = next((rank for rank in self._ranks if rank.code not in (None, 0)), None)
            if culprit is None:
                culprit = self._unresponsive_rank()
            if culprit is not None:
                if self._was_interrupted(culprit):
                    self._link.send("interrupted")
                    return INTERRUPTED
                return self._report(culprit)
            if self._end_elsewhere is not None:
                return self._report_elsewhere(self._end_elsewhere)
        self._link.send("finished")
        is_stopped = self._stops or self._stopped_elsewhere or any(rank.stopped for rank in self._ranks)
        return INTERRUPTED if is_stopped else 0

    def _was_interrupted(self, rank: RankProcess) -> bool:
        """Return whether Ctrl-C ended a rank: by force, or before the rank handled signals."""
        return self._answered_stops > 1 or (self._stops > 0 and rank.code in (INTERRUPTED, -signal.SIGINT))

    def _read_reports(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if not key.data.read_reports():
                self._selector.unregister(key.fileobj)
        self._answer_stops()
        for rank in self._ranks:
            rank.poll()
        self._read_messages()

    def _read_messages(self) -> None:
        if self._stops and not self._sent_stops:
            self._sent_stops = self._stops
            self._link.send("stopping")
        for message in self._link.receive():
            if message["kind"] == "stopping":
                self._stopped_elsewhere = True
                say(f"node {message['node']} was asked to stop; stopping after this step")
            elif message["kind"] == "finished":
                self._finished_nodes.add(message["node"])
            elif message["node"] not in self._finished_nodes:
                self._end_elsewhere = self._end_elsewhere or message

    def _unresponsive_rank(self) -> RankProcess | None:
        running = (rank for rank in self._ranks if rank.code is None)
        oldest = min(running, key=lambda rank: rank.last_heartbeat, default=None)
        limit = self._options.rank_timeout
        silence = 0 if oldest is None else time.monotonic() - oldest.last_heartbeat
        if silence < limit:
            if oldest is not None and self._options.num_nodes > 1:
                self._name_silence(oldest.number, silence)
            return None
        oldest.failure = f"error: rank {oldest.number} has not responded for {limit} s (--rank_timeout)"
        return oldest

    def _name_silence(self, rank: int, silence: float) -> None:
        """Say now and then that a rank is silent, and later where its steps have turned out to take long."""
        if silence < self._silence:  # it has responded
            self._usual_silence = max(self._usual_silence, 1.5 * self._silence)
            self._next_notice = self._usual_silence
        self._silence = silence
        if silence > self._next_notice:
            self._next_notice = silence + _SILENCE_SECONDS
            limit = self._options.rank_timeout
            say(f"rank {rank} has not responded for {silence:.0f} s; the run ends after {limit} s (--rank_timeout)")

    def _report(self, culprit: RankProcess) -> int:
        """Print the failing rank's message, preferring a rank that reported a reason to one that was torn down."""
        alone = self._options.num_nodes == 1
        start = time.monotonic()
        while culprit.failure is None and self._end_elsewhere is None:
            grace = _GRACE_SECONDS if alone or not culprit.was_torn_down() else _ABORT_GRACE_SECONDS
            if time.monotonic() > start + grace:
                break
            self._read_reports(0.1)
            dead = [rank for rank in self._ranks if rank.failure or rank.code not in (None, 0)]
            culprit = min(dead, key=lambda rank: (rank.failure is None, rank.was_torn_down()), default=culprit)
        self._read_reports(0)
        if self._end_elsewhere is not None and culprit.was_torn_down():
            return self._report_elsewhere(self._end_elsewhere)
        self._kill()
        head = f"rank {culprit.number} of {self._count * self._options.num_nodes} failed"
        if culprit.failure is None:
            reason = f"{head}: {culprit.describe_end()}"
        elif culprit.failure.startswith("error: "):
            reason = culprit.failure
        else:
            reason = f"{head}:\n{culprit.failure}"
        self._link.send("failed", reason=reason)
        say(reason)
        self._print_log_files()
        return 1

    def _report_elsewhere(self, message: Mapping[str, Any]) -> int:
        """Print how another node ended, and end this one."""
        self._kill()
        node = message["node"]
        if message["kind"] == "interrupted":
            say(f"node {node} was interrupted")
            return INTERRUPTED
        if message["kind"] == "lost":
            ip = self._options.node_ips[node]
            how = "its command ended or the network failed"
            if message["silent"]:
                how = f"no sign of it for {message['silent']} s; resume with --resume 1 when it can be reached"
            say(f"error: lost node {node} ({ip}): {how}")
        else:
            say(f"node {node}: {message['reason']}")
        self._print_log_files()
        return 1

    def _print_log_files(self) -> None:
        written = [rank.log.name for rank in self._ranks if rank.has_output()]
        where = f"; their full output is in {self._log_dir}: {', '.join(written)}" if written else ""
        say(f"all ranks were stopped{where}")

    def _on_signal(self, number: int, frame: object) -> None:
        self._stops += 1  # and no more: it may interrupt a print, or a wait for a rank

    def _answer_stops(self) -> None:
        """Ask the ranks to stop at the first signal; end them at the second, or if they do not stop at once."""
        if self._stops and not self._answered_stops:
            self._answered_stops = 1
            say(self._on_stop)
            for rank in self._ranks:
                rank.interrupt()
            if self._stops_at_once:
                self._stop_limit = time.monotonic() + _AT_ONCE_SECONDS
        if self._answered_stops == 1 and (self._stops > 1 or time.monotonic() > self._stop_limit):
            self._answered_stops = 2
            self._kill()

    def _kill(self) -> None:
        for rank in self._ranks:
            rank.kill()
        for rank in self._ranks:
            rank.wait()


def _write_settings(config: Mapping[str, Any]) -> int:
    """Return the descriptor of a file in memory that holds ``config`` as JSON, for ``launch.rank``."""
    descriptor = os.memfd_create("settings")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(dict(config)).encode())
    return descriptor


def launch(
    config: Mapping[str, Any], ranks: int, log_dir: Path, argv: Sequence[str], stops_at_once: bool = False
) -> int:
    """Run this program's command line as ``ranks`` supervised ranks and return the exit code.

    Each rank finds ``config`` by ``launch.rank.inherited_settings``.
    """
    return Supervisor(config, ranks, log_dir, stops_at_once).run([sys.executable, "-u", sys.argv[0], *argv])
