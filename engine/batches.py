"""What a run trains on: the loader's batches, or with a triplet loss triplets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from backbones.execution.backbone import Backbone
from data.augment import Augmentation
from data.batches import Batches
from data.loader import BatchLoader
from data.options import DataOptions
from data.source import ImageSource
from engine.log import RunLog
from engine.triplet_batches import TripletBatches
from launch.rank import RankReporter
from launch.world import World
from settings.choices import TRIPLET_LOSSES


def open_batches(
    config: Mapping[str, Any],
    source: ImageSource,
    world: World,
    backbone: Backbone,
    start: tuple[int, int],
    state: Mapping[str, np.ndarray],
    log: RunLog,
    reporter: RankReporter,
) -> Batches:
    """Return the batches of a run from ``start`` on: its step, and the images taken before it.

    ``state`` is what ``read_state`` returned there, empty for a new run.

    Raises:
        UserError: sizes do not fit.
    """
    step, position = start
    if config["loss_name"] in TRIPLET_LOSSES:
        return TripletBatches(
            config,
            source,
            world,
            backbone,
            Augmentation.from_config(config),
            start_step=step,
            start_position=position,
            state=state,
            say=log.say,
            beat=reporter.heartbeat,
        )
    return BatchLoader(source, DataOptions.from_config(config), world.rank, world.size, step, position)
