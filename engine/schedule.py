"""The plan of a run in steps: its length, when to verify and save, the learning rate of each step, and its progress."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.errors import UserError, lookup


@dataclass(frozen=True)
class Plan:
    """Lengths and intervals in steps (global batches), and the shifts between clocks.

    What a setting counts in batches goes by the number of the step. What it counts in epochs goes by the data: after a
    batch of another size, a run has the epochs behind it that its images amount to. A shift is added to a step's number
    to get the number of batches of the present size that the run amounts to; it is 0 while the batch does not change.

    Attributes:
        steps_per_epoch: batches of an epoch.
        total_steps: number of the last step.
        snapshot_interval: batches between snapshots; 0: none.
        validation_interval: batches between verifications.
        warmup_steps: batches of the warm-up.
        epoch_shift: of the number of epochs.
        interval_shift: of the intervals.
        warmup_shift: of the warm-up.
        end_shift: of the schedules that fall to 0 at the end of the training.
        lr_shift: of ``lr_steps``.
    """

    steps_per_epoch: int
    total_steps: int
    snapshot_interval: int
    validation_interval: int
    warmup_steps: int = 0
    epoch_shift: int = 0
    interval_shift: int = 0
    warmup_shift: int = 0
    end_shift: int = 0
    lr_shift: int = 0

    def is_snapshot(self, step: int) -> bool:
        """Return whether a snapshot is due after ``step`` finished steps."""
        return self.snapshot_interval > 0 and (step + self.interval_shift) % self.snapshot_interval == 0

    def is_validation(self, step: int) -> bool:
        """Return whether a verification is due after ``step`` finished steps."""
        return (step + self.interval_shift) % self.validation_interval == 0

    def epoch_of(self, step: int) -> tuple[int, int]:
        """Return the epoch, and the batch in it, both from 0, of the step after ``step`` finished steps."""
        return divmod(step + self.epoch_shift, self.steps_per_epoch)

    def validations_after(self, step: int) -> int:
        """Return the number of verifications that come after ``step`` finished steps."""
        shift, interval = self.interval_shift, self.validation_interval
        return (self.total_steps + shift) // interval - (step + shift) // interval

    def epochs_done(self, step: int) -> float:
        """Return the number of epochs in ``step`` finished steps, with a fraction."""
        return (step + self.epoch_shift) / self.steps_per_epoch


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: finished steps.
        position: images taken from the training stream so far, over all ranks.
        epochs: finished epochs, with a fraction, when the plan was made.
        data: what the batches need besides to resume there; empty except for triplet losses.
    """

    step: int = 0
    position: int = 0
    epochs: float = 0.0
    data: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_progress(about: Mapping[str, Any], num_images: int) -> Progress:
    """Return the progress that the manifest of a snapshot tells, without the data.

    A manifest without ``epochs`` was written by a run that counted them in batches of its own size.
    """
    step, position = about["step"], about["position"]
    epochs = about.get("epochs")
    if epochs is None:
        batch = about["config"].get("train_batch_size") or max(1, position // max(1, step))
        epochs = position / batch / math.ceil(num_images / batch)
    return Progress(step, position, epochs)


def make_plan(config: Mapping[str, Any], num_images: int, start: Progress | None = None) -> Plan:
    """Turn train units and epochs into steps. An epoch is ceil(num_images / train_batch_size) steps.

    The training ends at the first of ``train_iter``, ``max_steps`` and ``end_epoch`` that is not 0.

    Args:
        config: settings of the run.
        num_images: number of training images.
        start: how far the run has come, maybe in batches of another size; None for a new run.

    Raises:
        UserError: the warm-up is at least as long as the training.
    """
    start, batch = start or Progress(), config["train_batch_size"]
    steps_per_epoch = math.ceil(num_images / batch)
    by_epoch = config["train_unit"] == "epoch"
    unit = steps_per_epoch if by_epoch else 1
    shift = round(start.epochs * steps_per_epoch) - start.step
    ends = [  # step, shift
        (unit * config["train_iter"] - shift * by_epoch, shift * by_epoch, config["train_iter"]),
        (config["max_steps"], 0, config["max_steps"]),
        (steps_per_epoch * config["end_epoch"] - shift, shift, config["end_epoch"]),
    ]
    total_steps, end_shift = min((end, end_shift) for end, end_shift, given in ends if given)
    plan = Plan(
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        snapshot_interval=unit * config["iter_num_in_snapshot"],
        validation_interval=unit * config["validation_interval"],
        warmup_steps=config["warmup_steps"] or round(config["warmup_epochs"] * steps_per_epoch),
        epoch_shift=shift,
        interval_shift=shift * by_epoch,
        warmup_shift=0 if config["warmup_steps"] else shift,
        end_shift=end_shift,
        lr_shift=start.position // batch - start.step if config.get("lr_steps_batch") else 0,
    )
    if plan.warmup_steps - plan.warmup_shift >= plan.total_steps:
        raise UserError(
            f"a warm-up of {plan.warmup_steps} steps leaves nothing of the {plan.total_steps} of the training; use "
            "smaller --warmup_steps or --warmup_epochs"
        )
    return plan


def _step(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """Return InsightFace's factor: ``scales[i]`` from step ``lr_steps[i]`` on, 1 before the first."""
    passed = bisect_right(config["lr_steps"], step + plan.lr_shift)
    return config["scales"][passed - 1] if passed else 1.0


def _poly(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """Return arcface_torch's factor: from 1 after the warm-up to 0 at the end, to the power ``lr_power``."""
    return (1 - _share_done(step, plan)) ** config["lr_power"]


def _cosine(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """Return half a cosine, from 1 after the warm-up to 0 at the end (Loshchilov and Hutter, arXiv:1608.03983)."""
    return (1 + math.cos(math.pi * _share_done(step, plan))) / 2


def _share_done(step: int, plan: Plan) -> float:
    """Return the share of the training after the warm-up that ``step`` steps have done, on the clock of its end."""
    in_steps = plan.warmup_shift and not plan.end_shift
    start = max(0, plan.warmup_steps - plan.warmup_shift) if in_steps else plan.warmup_steps
    done, total = step + plan.end_shift, plan.total_steps + plan.end_shift
    return min(1.0, max(0, done - start) / max(1, total - start))


SCHEDULES = {"step": _step, "poly": _poly, "cosine": _cosine}


def lr_scale(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """Return the factor on the learning rate of the update after ``step`` finished steps.

    It is the schedule's factor, during a warm-up of W steps times (step + 1) / W.
    """
    scale = lookup(SCHEDULES, config["lr_schedule"], "lr_schedule")(step, plan, config)
    done = step + plan.warmup_shift
    return scale * min(1.0, (done + 1) / plan.warmup_steps) if plan.warmup_steps else scale
