"""Rank program: short trainings of the tiny network and sweeps of rates with the same settings."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.rate_sweep import run_trials, sweep, train_at
from engine.rate_trials import trial_schedule
from engine.schedule import make_plan
from launch.rank import RankReporter
from launch.world import join_world
from settings.config import Config
from tests.support.tiny import make_trainer, read_losses, tiny_config, tiny_network, train


def sweep_tiny(config: Config, rates: Sequence[float]) -> list[float]:
    """Return the losses of the tiny network at ``rates``, from the start."""
    trainer, source = make_trainer(config, tiny_network())
    return train_at(rates, config, trainer.train_step, source, RankReporter())


def main(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return name -> losses of each step: of a training, or of a sweep if the run has ``rates``.

    A run with ``result`` is the command's own: it writes its losses there. One with ``first`` is of trials from this
    rate on, and returned are rates and scores.
    """
    losses = {}
    for name, run in runs.items():
        config = tiny_config(Path(run["folder"]), **run["config"])
        if "result" in run:
            sweep(Config({**config, "sweep_result": run["result"]}), RankReporter())
        elif "first" in run:
            train_from_start = functools.partial(sweep_tiny, config)
            schedule = trial_schedule(make_plan(config, config.total_img_num), config, config["sweep_trial_steps"])
            found = run_trials(run["first"], schedule, config, join_world("cpu"), RankReporter(), train_from_start)
            losses[name] = [list(each) for each in found]
        elif "rates" in run:
            losses[name] = sweep_tiny(config, run["rates"])
        elif train(config, tiny_network()).train_step.world.rank == 0:
            losses[name] = [loss for _, loss in read_losses(config)]
    return losses
