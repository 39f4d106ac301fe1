"""A sweep of learning rates as one rank, and short trainings at some of them; nothing but the losses is kept."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import atomic_file
from data.sources.bad_images import STOP, bad_images_error
from data.sources.base import ImageSource
from engine.batches import open_batches
from engine.log import RunLog
from engine.news import exchange_news, signal_of
from engine.options import StepOptions
from engine.preflight import open_source
from engine.rate_suggestion import suggest_rate, sweep_rates
from engine.rate_trials import TrialSchedule, score_trial, search_rates, trial_schedule
from engine.schedule import Progress, make_plan
from engine.step import TrainStep
from engine.teacher import Teacher
from engine.teacher_model import open_teacher
from engine.teacher_rows import find_teacher_rows
from engine.train import build_modules, teach_classes
from launch.rank import RankReporter
from launch.world import World, configure_transfers, join_world
from settings.config import Config

LOWEST, HIGHEST, RESULT = "sweep_lowest", "sweep_highest", "sweep_result"
STEPS, TRIAL_STEPS = "sweep_steps", "sweep_trial_steps"
_DIVERGED = 1.5  # times the first loss
_LINES = 10


class _Stopped(Exception):
    """A rank was asked to stop."""


def sweep(config: Config, reporter: RankReporter) -> None:
    """Train from the start values of the run, and write the losses as JSON to ``sweep_result``.

    First come ``sweep_steps`` steps at rates that rise from ``sweep_lowest`` to ``sweep_highest``; then, if their
    losses suggest a rate, trials of at most ``sweep_trial_steps`` steps at this rate and others, each from the start
    and with the schedule of the run.

    Raises:
        UserError: the data or the model to start from do not fit, or an image is bad.
    """
    world = join_world(config.device)
    configure_transfers(config)
    source = open_source(config)
    model = open_teacher(config)
    taught = find_teacher_rows(config, model)
    teacher = None if model is None else Teacher(model, config, world)

    def train(rates: Sequence[float], divergence: float, lines: int) -> list[float]:
        backbone, head, taken_over = build_modules(config, world, source, None)
        teach_classes(head, taught)
        if world.rank == 0 and lines:
            for line in taken_over:
                print(line)
        step = TrainStep(StepOptions.from_config(config), world, backbone, head, teacher)
        return train_at(rates, config, step, source, reporter, divergence, lines)

    rates = sweep_rates(config[LOWEST], config[HIGHEST], config[STEPS]).tolist()
    losses = train(rates, _DIVERGED, _LINES)
    schedule = trial_schedule(make_plan(config, len(source)), config, config[TRIAL_STEPS])
    first = _first_rate(rates, losses)
    trials = run_trials(first, schedule, config, world, reporter, lambda each: train(each, math.inf, 0))
    if world.rank == 0:
        with atomic_file(config[RESULT], "w") as file:
            json.dump({"rates": rates, "losses": losses, "trials": trials}, file)
    world.barrier()


def _first_rate(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return the rate that a sweep suggests; None if it suggests none."""
    try:
        return suggest_rate(rates, losses).rate
    except UserError:  # the caller of the ranks reports it
        return None


def run_trials(
    first: float | None,
    schedule: TrialSchedule,
    config: Mapping[str, Any],
    world: World,
    reporter: RankReporter,
    train: Callable[[Sequence[float]], list[float]],
) -> list[tuple[float, float | None]]:
    """Return rates and scores of trials, None for one that diverged; the first is at ``first``. A collective call."""
    steps, count = len(schedule.factors), 0
    if first is None:
        return []
    if world.rank == 0:
        print(schedule.about, flush=True)

    def score(rate: float) -> float:
        nonlocal count
        gc.collect()  # the network of the trial before is released first
        value = score_trial(train([rate * factor for factor in schedule.factors]), steps)
        value = float(world.share(np.array([value]))[0])  # the ranks decide alike what to try next
        if world.gather(np.array([reporter.stop_requested])).any():
            raise _Stopped
        count += 1
        if world.rank == 0:
            said = f"loss {value:.4f} at the end" if math.isfinite(value) else "diverges"
            print(f"trial {count} of {steps} steps: rate {rate:g}, {said}", flush=True)
        return value

    try:
        found = search_rates(first, config[LOWEST], config[HIGHEST], score)
    except _Stopped:
        return []
    return [(rate, value if math.isfinite(value) else None) for rate, value in found.items()]


def train_at(
    rates: Sequence[float],
    config: Mapping[str, Any],
    step: TrainStep,
    source: ImageSource,
    reporter: RankReporter,
    divergence: float = _DIVERGED,
    lines: int = _LINES,
) -> list[float]:
    """Train one step at each of ``rates``; return the losses, the same on every rank. A collective call.

    It ends early where the loss is not finite any more, or ``divergence`` times that of the first step. The first rank
    prints ``lines`` lines on its way.

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
            if world.rank == 0 and lines and (number + 1) % max(1, len(rates) // lines) == 0:
                print(f"step {number + 1} of {len(rates)}: rate {rate:.2g}, loss {result.loss:.4f}", flush=True)
            if result.loss > divergence * losses[0]:
                break
    return losses
