"""Rank program: ``engine.train.train`` on the tiny network, optionally killed at a given step."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from backbones import NETWORKS
from engine.train import train
from launch.rank import RankReporter, run_as_rank
from tests.support.supervise import say_pid
from tests.support.tiny import tiny_config, tiny_network


def die_at(step: int, rank: int) -> None:
    """Kill this process at the heartbeat after ``step``; every step gives one."""
    if int(os.environ["RANK"]) != rank:
        return
    beats, heartbeat = iter(range(1, 1 << 30)), RankReporter.heartbeat

    def beat_and_die(self: RankReporter) -> None:
        heartbeat(self)
        if next(beats) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    RankReporter.heartbeat = beat_and_die


def take_time(seconds: float) -> None:
    """Make each step last longer, for what happens to a run meanwhile."""
    heartbeat = RankReporter.heartbeat

    def beat(self: RankReporter) -> None:
        heartbeat(self)
        time.sleep(seconds)

    RankReporter.heartbeat = beat


if __name__ == "__main__":
    folder, given = Path(sys.argv[1]), json.loads(sys.argv[2])
    say_pid(folder)
    NETWORKS["tiny"] = lambda _: tiny_network(**given.get("network", {}))
    if "step_seconds" in given:
        take_time(given["step_seconds"])
    if "die_at" in given:
        die_at(*given["die_at"])
    run_as_rank(train, tiny_config(folder, net_name="tiny", **given["config"]))
