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
    """Lengths and intervals in steps (global batches)."""

    steps_per_epoch: int
    total_steps: int
    snapshot_interval: int
    validation_interval: int
    warmup_steps: int = 0

    def is_snapshot(self, step: int) -> bool:
        """Return whether a snapshot is due after ``step`` finished steps."""
        return self.snapshot_interval > 0 and step % self.snapshot_interval == 0

    def is_validation(self, step: int) -> bool:
        """Return whether a verification is due after ``step`` finished steps."""
        return step % self.validation_interval == 0


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: finished steps.
        position: images taken from the training stream so far, over all ranks.
        data: what the batches need besides to resume there; empty except for triplet losses.
    """

    step: int = 0
    position: int = 0
    data: Mapping[str, np.ndarray] = field(default_factory=dict)


def make_plan(config: Mapping[str, Any], num_images: int) -> Plan:
    """Turn train units and epochs into steps. An epoch is ceil(num_images / train_batch_size) steps.

    The training ends at the first of ``train_iter``, ``max_steps`` and ``end_epoch`` that is not 0.

    Raises:
        UserError: the warm-up is at least as long as the training.
    """
    steps_per_epoch = math.ceil(num_images / config["train_batch_size"])
    unit = steps_per_epoch if config["train_unit"] == "epoch" else 1
    ends = (unit * config["train_iter"], config["max_steps"], steps_per_epoch * config["end_epoch"])
    plan = Plan(
        steps_per_epoch=steps_per_epoch,
        total_steps=min(end for end in ends if end),
        snapshot_interval=unit * config["iter_num_in_snapshot"],
        validation_interval=unit * config["validation_interval"],
        warmup_steps=config["warmup_steps"] or round(config["warmup_epochs"] * steps_per_epoch),
    )
    if plan.warmup_steps >= plan.total_steps:
        raise UserError(
            f"a warm-up of {plan.warmup_steps} steps leaves nothing of the {plan.total_steps} of the training; use "
            "smaller --warmup_steps or --warmup_epochs"
        )
    return plan


def _step(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """Return InsightFace's factor: ``scales[i]`` from step ``lr_steps[i]`` on, 1 before the first."""
    passed = bisect_right(config["lr_steps"], step)
    return config["scales"][passed - 1] if passed else 1.0


def _poly(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """Return arcface_torch's factor: from 1 after the warm-up to 0 at the end, to the power ``lr_power``."""
    return (1 - _share_done(step, plan)) ** config["lr_power"]


def _cosine(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """Return half a cosine, from 1 after the warm-up to 0 at the end (Loshchilov and Hutter, arXiv:1608.03983)."""
    return (1 + math.cos(math.pi * _share_done(step, plan))) / 2


def _share_done(step: int, plan: Plan) -> float:
    return min(1.0, max(0, step - plan.warmup_steps) / (plan.total_steps - plan.warmup_steps))


SCHEDULES = {"step": _step, "poly": _poly, "cosine": _cosine}


def lr_scale(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """Return the factor on the learning rate of the update after ``step`` finished steps.

    It is the schedule's factor, during a warm-up of W steps times (step + 1) / W.
    """
    scale = lookup(SCHEDULES, config["lr_schedule"], "lr_schedule")(step, plan, config)
    return scale * min(1.0, (step + 1) / plan.warmup_steps) if plan.warmup_steps else scale
