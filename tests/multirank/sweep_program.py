"""Rank program: short trainings of the tiny network and sweeps of rates with the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.rate_sweep import sweep, train_at
from launch.rank import RankReporter
from settings.config import Config
from tests.support.tiny import make_trainer, read_losses, tiny_config, tiny_network, train


def main(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return name -> losses of each step: of a training, or of a sweep if the run has ``rates``.

    A run with ``result`` is the command's own: it writes its losses there.
    """
    losses = {}
    for name, run in runs.items():
        config = tiny_config(Path(run["folder"]), **run["config"])
        if "result" in run:
            sweep(Config({**config, "sweep_result": run["result"]}), RankReporter())
        elif "rates" in run:
            trainer, source = make_trainer(config, tiny_network())
            losses[name] = train_at(run["rates"], config, trainer.train_step, source, RankReporter())
        elif train(config, tiny_network()).train_step.world.rank == 0:
            losses[name] = [loss for _, loss in read_losses(config)]
    return losses
