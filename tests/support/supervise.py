"""Runs a Supervisor in a separate process, so that tests can send it signals and see its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def start_supervisor(
    folder: Path,
    ranks: int,
    command: list[str],
    rank_timeout: float = 60,
    prefix: Sequence[str] = (),
    at_once: float = 0,
    **config: object,
) -> Iterator[subprocess.Popen]:
    """Supervise ``command`` on ``ranks`` ranks; all processes have ended when the block ends.

    ``prefix`` is put before the supervisor's command; ``config`` holds settings that differ from those of one node. The
    ranks are to stop at once, within ``at_once`` seconds, if it is given.
    """
    settings = {"node_rank": 0, "num_nodes": 1, "node_ips": ["127.0.0.1"], "master_port": 0, "join_token": ""}
    settings |= {"models_root": str(folder), **config}
    arguments = {
        "config": {**settings, "rank_timeout": rank_timeout},
        "ranks": ranks,
        "command": command,
        "at_once": at_once,
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*prefix, sys.executable, __file__, str(folder / "log"), json.dumps(arguments)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for pid in [process.pid, *rank_pids(folder)]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        process.communicate()


def say_pid(folder: Path) -> None:
    """Called by a rank: write its process id for ``rank_pids``."""
    target = folder / f"rank-{os.environ['RANK']}.pid"
    target.with_suffix(".tmp").write_text(str(os.getpid()))
    target.with_suffix(".tmp").rename(target)


def rank_pids(folder: Path) -> list[int]:
    return [int(path.read_text()) for path in sorted(folder.glob("rank-*.pid"))]


def session_members(session: int) -> list[int]:
    """Return the living processes (no zombies) of a session."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, number = stat.read_text().rsplit(")", 1)[1].split()[:4]
            if int(number) == session and state != "Z":
                members.append(int(stat.parent.name))
    return members


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def assert_nothing_left(folder: Path, ranks: int, seconds: float = 5) -> None:
    pids = rank_pids(folder)
    assert len(pids) == ranks
    wait_until(lambda: not any(session_members(pid) for pid in pids), seconds, "end of all ranks and their children")


if __name__ == "__main__":
    from common.errors import run_command
    from launch import supervisor

    given = json.loads(sys.argv[2])
    at_once = given.get("at_once", 0)
    supervisor._AT_ONCE_SECONDS = at_once
    own = supervisor.Supervisor(given["config"], given["ranks"], Path(sys.argv[1]), bool(at_once))
    run_command(lambda: own.run(given["command"]))
