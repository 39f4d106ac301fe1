"""The plan of a run in steps: how long, when to verify and save, and the learning rate at each step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Plan:
    """Lengths and intervals in steps (global batches)."""

    steps_per_epoch: int
    total_steps: int
    snapshot_interval: int
    validation_interval: int

    def is_snapshot(self, step: int) -> bool:
        """Tell whether a snapshot is due after ``step`` finished steps."""
        return self.snapshot_interval > 0 and step % self.snapshot_interval == 0

    def is_validation(self, step: int) -> bool:
        """Tell whether a verification is due after ``step`` finished steps."""
        return step % self.validation_interval == 0


def make_plan(config: Mapping[str, Any], num_images: int) -> Plan:
    """Turn train units into steps. An epoch is ceil(num_images / train_batch_size) steps."""
    steps_per_epoch = math.ceil(num_images / config["train_batch_size"])
    unit = steps_per_epoch if config["train_unit"] == "epoch" else 1
    return Plan(
        steps_per_epoch=steps_per_epoch,
        total_steps=unit * config["train_iter"],
        snapshot_interval=unit * config["iter_num_in_snapshot"],
        validation_interval=unit * config["validation_interval"],
    )


def step_scale(step: int, lr_steps: Sequence[int], scales: Sequence[float]) -> float:
    """Return the factor on the learning rate for the update after ``step`` finished ones: InsightFace's step schedule.

    ``scales[i]`` holds from step ``lr_steps[i]`` on, 1 before the first.
    """
    passed = bisect_right(lr_steps, step)
    return scales[passed - 1] if passed else 1.0
