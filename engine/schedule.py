"""The plan of a run in steps: how long, when to verify and save, and the learning rate at each step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
        """Tell whether a snapshot is due after ``step`` finished steps."""
        return self.snapshot_interval > 0 and step % self.snapshot_interval == 0

    def is_validation(self, step: int) -> bool:
        """Tell whether a verification is due after ``step`` finished steps."""
        return step % self.validation_interval == 0


def make_plan(config: Mapping[str, Any], num_images: int) -> Plan:
    """Turn train units and epochs into steps. An epoch is ceil(num_images / train_batch_size) steps.

    Of ``train_iter``, ``max_steps`` and ``end_epoch`` the first to be reached ends the training; 0 is no end.

    Raises:
        UserError: the warm-up is as long as the training or longer.
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
            f"a warm-up of {plan.warmup_steps} steps leaves nothing of the {plan.total_steps} of the training; take "
            "smaller --warmup_steps or --warmup_epochs"
        )
    return plan


def _step(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """InsightFace's: ``scales[i]`` holds from step ``lr_steps[i]`` on, 1 before the first."""
    passed = bisect_right(config["lr_steps"], step)
    return config["scales"][passed - 1] if passed else 1.0


def _poly(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """That of arcface_torch: from 1 after the warm-up to 0 at the end, in the power ``lr_power``."""
    return (1 - _find_progress(step, plan)) ** config["lr_power"]


def _cosine(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """From 1 after the warm-up to 0 at the end, along half a cosine (Loshchilov and Hutter, arXiv:1608.03983)."""
    return (1 + math.cos(math.pi * _find_progress(step, plan))) / 2


def _find_progress(step: int, plan: Plan) -> float:
    return min(1.0, max(0, step - plan.warmup_steps) / (plan.total_steps - plan.warmup_steps))


SCHEDULES = {"step": _step, "poly": _poly, "cosine": _cosine}


def find_lr_scale(step: int, plan: Plan, config: Mapping[str, Any]) -> float:
    """Return the factor on the learning rate for the update after ``step`` finished ones.

    It is that of the schedule, and in a warm-up of W steps also (step + 1) / W.
    """
    scale = lookup(SCHEDULES, config["lr_schedule"], "lr_schedule")(step, plan, config)
    return scale * min(1.0, (step + 1) / plan.warmup_steps) if plan.warmup_steps else scale
