"""Rank program without OneFlow: behaves as its first argument says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import launch.rank
from common.errors import UserError
from launch.rank import RankReporter
from tests.support.supervise import rank_pids, say_pid, wait_until

FOLDER = Path(sys.argv[2])
RANK = int(os.environ["RANK"])
if int(os.environ["WORLD_SIZE"]) > 2:  # of several nodes, whose commands wait until the ranks have lingered
    launch.rank._LINGER_SECONDS = 0.2
else:  # so long that a command that waited for it would be seen on a busy machine too
    launch.rank._LINGER_SECONDS = 30.0


def work(reporter: RankReporter, until: Callable[[], bool] = lambda: False) -> None:
    while not until():
        reporter.heartbeat()
        time.sleep(0.05)


def be_good(reporter: RankReporter) -> None:
    print(f"rank {RANK} of {os.environ['WORLD_SIZE']} works")


def print_twice(reporter: RankReporter) -> None:
    print(f"rank {RANK} begins", flush=True)
    wait_until((FOLDER / "closed").exists, 60, "close of the console")
    print(f"rank {RANK} ends", flush=True)


def die_after_the_end(reporter: RankReporter) -> None:
    """End like a rank whose peers have exited when it leaves OneFlow."""
    reporter._send({"finished": True})
    if RANK == 0:
        os.abort()


def raise_in_one(reporter: RankReporter) -> None:
    if RANK == 1:
        raise ValueError("broken on purpose")
    work(reporter)


def raise_user_error(reporter: RankReporter) -> None:
    if RANK == 1:
        raise UserError("part-00000: record at byte 7 is bad; convert it again")
    work(reporter)


def run_out_of_memory(reporter: RankReporter) -> None:
    if RANK == 1:
        raise MemoryError
    work(reporter)


def raise_then_abort(reporter: RankReporter) -> None:
    """Rank 0 dies because of rank 1, before rank 1 has reported its failure."""
    if RANK == 0:
        os.abort()
    time.sleep(1)
    raise ValueError("the real reason")


def be_killed(reporter: RankReporter) -> None:
    if RANK == 1:
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    work(reporter)


def be_killed_and_abort(reporter: RankReporter) -> None:
    """Rank 3 is killed, and all ranks of the first node abort because of it, as with OneFlow."""
    if RANK == 3:
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if RANK < 2:
        os.abort()
    work(reporter)


def fall_silent(reporter: RankReporter) -> None:
    if RANK == 1:
        time.sleep(600)
    work(reporter)


def stop_when_asked(reporter: RankReporter) -> None:
    work(reporter, lambda: reporter.stop_requested)
    time.sleep(0.3)
    (FOLDER / f"stopped-{RANK}").touch()


def stop_together(reporter: RankReporter) -> None:
    """Stop when one rank was asked to."""
    work(reporter, lambda: reporter.stop_requested or any(FOLDER.glob("stopped-*")))
    (FOLDER / f"stopped-{RANK}").touch()


def stop_at_once(reporter: RankReporter) -> None:
    reporter.install(stops_at_once=True)
    (FOLDER / f"working-{RANK}").touch()
    try:
        work(reporter)
    finally:
        (FOLDER / f"unwound-{RANK}").touch()


def never_stop(reporter: RankReporter) -> None:
    subprocess.Popen(["sleep", "600"])
    work(reporter)


def hang(reporter: RankReporter) -> None:
    time.sleep(600)


if __name__ == "__main__":
    own = RankReporter()
    if sys.argv[1] == "start_slowly":
        say_pid(FOLDER)
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            sys.exit(130)
    own.install()
    say_pid(FOLDER)
    wait_until(lambda: len(rank_pids(FOLDER)) == 2, 60, "start of the others")
    try:
        globals()[sys.argv[1]](own)
    except BaseException as error:
        own.fail(error)
    own.finish()
