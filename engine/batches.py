"""Opens what a run trains on: the loader's batches, or with a triplet loss batches of triplets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.loading.batches import Batches
from data.loading.loader import BatchLoader
from data.loading.options import DataOptions
from data.sources.base import ImageSource
from engine.log import RunLog
from engine.schedule import Progress
from engine.step import TrainStep
from engine.triplet_batches import TripletBatches
from launch.rank import RankReporter
from settings.choices import TRIPLET_LOSSES


def open_batches(
    config: Mapping[str, Any],
    source: ImageSource,
    train_step: TrainStep,
    start: Progress,
    log: RunLog,
    reporter: RankReporter,
) -> Batches:
    """Return this rank's batches of a run that has come as far as ``start``.

    Raises:
        UserError: the batch size does not fit the source or the ranks.
    """
    if config["loss_name"] in TRIPLET_LOSSES:
        return TripletBatches(config, source, train_step, start, log, reporter)
    world, options = train_step.world, DataOptions.from_config(config)
    return BatchLoader(source, options, world.rank, world.size, start.step, start.position)
