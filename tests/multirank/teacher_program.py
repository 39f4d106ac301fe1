"""Rank program: one step with a teacher and one without it, for each way to train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from data.loading.batches import Batch
from engine.step import StepResult
from tests.support.tiny import make_trainer, tiny_config, tiny_network

LR, WEIGHT = 0.5, 3.0


def main(ways: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return by name of a way what this rank saw.

    A way is {folder, teacher: a file, config: keys that differ}. Returned are this rank's image numbers, the loss that
    the teacher adds, and how far it moves the biases of the last layer, divided by minus the learning rate.
    """
    found, without = {}, {}
    for name, way in ways.items():
        folder, own = Path(way["folder"]) / name, {"teacher": way["teacher"], "teacher_weight": WEIGHT}
        own["teacher_cache"] = way["config"].pop("teacher_cache", False)
        same = json.dumps(way["config"])
        if same not in without:
            without[same] = take_step(folder / "without", way["config"])
        images, loss, biases = take_step(folder, {**way["config"], **own})
        _, plain_loss, plain_biases = without[same]
        found[name] = {"images": images, "loss": loss - plain_loss, "moved": (plain_biases - biases) / LR}
    return found


def take_step(folder: Path, config: dict[str, Any]) -> tuple[np.ndarray, float, np.ndarray]:
    """Return the image numbers, the loss and the biases of the last layer after a step."""
    settings = {"train_iter": 1, "lr": LR, "momentum": 0.0, "weight_decay": 0.0, **config}
    trainer, source = make_trainer(tiny_config(folder, **settings), tiny_network())
    seen, compute = [], trainer.train_step.compute

    def watch(batch: Batch, *rest: Any) -> StepResult:
        result = compute(batch, *rest)
        seen.append((batch.indices.copy(), result.loss))
        return result

    trainer.train_step.compute = watch
    trainer.run(source)
    return *seen[0], trainer.train_step.backbone.named_arrays()["fc1_bias"].astype(np.float64)
