"""A sweep of learning rates as one rank: train some steps, each at a larger rate, and keep nothing but the losses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import atomic_file
from data.sources.bad_images import STOP, bad_images_error
from data.sources.base import ImageSource
from engine.batches import open_batches
from engine.log import RunLog
from engine.news import exchange_news, signal_of
from engine.options import StepOptions
from engine.preflight import open_source
from engine.rate_suggestion import sweep_rates
from engine.schedule import Progress
from engine.step import TrainStep
from engine.teacher import Teacher
from engine.teacher_model import open_teacher
from engine.train import build_modules
from launch.rank import RankReporter
from launch.world import configure_transfers, join_world
from settings.config import Config

LOWEST, HIGHEST, RESULT = "sweep_lowest", "sweep_highest", "sweep_result"
_DIVERGED = 1.5  # times the first loss
_LINES = 10


def sweep(config: Config, reporter: RankReporter) -> None:
    """Train ``train_iter`` steps from the start values of the run, and write the losses as JSON to ``sweep_result``.

    The rates rise from ``sweep_lowest`` to ``sweep_highest``.

    Raises:
        UserError: the data or the model to start from do not fit, or an image is bad.
    """
    world = join_world(config.device)
    configure_transfers(config)
    source = open_source(config)
    backbone, head, taken_over = build_modules(config, world, source, None)
    if world.rank == 0:
        for line in taken_over:
            print(line)
    rates = sweep_rates(config[LOWEST], config[HIGHEST], config["train_iter"]).tolist()
    model = open_teacher(config)
    teacher = None if model is None else Teacher(model, config, world)
    step = TrainStep(StepOptions.from_config(config), world, backbone, head, teacher)
    losses = train_at(rates, config, step, source, reporter)
    if world.rank == 0:
        with atomic_file(config[RESULT], "w") as file:
            json.dump({"rates": rates, "losses": losses}, file)
    world.barrier()


def train_at(
    rates: Sequence[float], config: Mapping[str, Any], step: TrainStep, source: ImageSource, reporter: RankReporter
) -> list[float]:
    """Train one step at each of ``rates``; return the losses, the same on every rank. A collective call.

    It ends early where the loss is not finite any more, or half as large again as at first.

    Raises:
        UserError: an image is bad.
    """
    world, progress, losses = step.world, Progress(), []
    log = RunLog(Path(config["log_dir"]), False, 0)
    with open_batches(config, source, step, progress, log, reporter) as batches:
        for number, rate in enumerate(rates):
            failure = None
            try:
                batch = next(batches)
            except (UserError, RuntimeError) as error:  # the other ranks begin the step and must hear of it
                batch, failure = batches.spare_batch(), error
            rejected = batches.take_rejected()
            signal = signal_of(reporter.stop_requested, failure, rejected)
            result = step.compute(batch, number, signal)
            if result.has_news:
                news = exchange_news(world, reporter.stop_requested, failure, rejected)
                if news.failure is not None:
                    raise news.failure
                if news.rejected and config["bad_images"] == STOP:
                    raise bad_images_error(news.rejected)
                if news.stop:
                    break
            result = step.update(result, rate / config["lr"])
            if result.diverged:
                break
            losses.append(result.loss)
            reporter.heartbeat()
            if world.rank == 0 and (number + 1) % max(1, len(rates) // _LINES) == 0:
                print(f"step {number + 1} of {len(rates)}: rate {rate:.2g}, loss {result.loss:.4f}", flush=True)
            if result.loss > _DIVERGED * losses[0]:
                break
    return losses
