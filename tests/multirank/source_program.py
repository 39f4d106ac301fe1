"""Rank program: the tiny network trained on images of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.sources.training_set import open_training_set
from tests.support.tiny import IMAGE_SIZE, make_trainer, read_losses, tiny_config, tiny_network


def main(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what rank 0 logged for every run: name -> [(step, loss)].

    A run is {folder, place: that of the images, config: keys that differ}.
    """
    losses = {}
    for name, run in runs.items():
        source = open_training_set(run["place"], image_size=IMAGE_SIZE)
        classes = {"num_classes": source.num_classes, "total_img_num": len(source)}
        config = tiny_config(Path(run["folder"]), use_synthetic_data=False, **classes, **run["config"])
        trainer, _ = make_trainer(config, tiny_network())
        trainer.run(source)
        if trainer.train_step.world.rank == 0:
            losses[name] = read_losses(config)
    return losses
