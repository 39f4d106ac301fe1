"""The settings of the triplet losses, checked before a rank is started. Knows no framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from easydict import EasyDict

from common.errors import UserError, require
from data.source import ImageSource
from data.triplets import TripletBags

TRIPLET_LOSSES = ("triplet", "atriplet")
# What a loss without class centres cannot have: key and the value that leaves it away.
_FOR_CENTRES = {
    "partial_fc": False,
    "head_stats": 0,
    "label_map": "",
    "num_subcenters": 1,
    "interclass_filtering_threshold": 0.0,
}


def check_triplets(config: EasyDict) -> None:
    """Check the settings of bags and triplets.

    Raises:
        UserError: a value is outside of what it may be, or is for a loss with class centres.
    """
    require(config.images_per_identity >= 2, f"--images_per_identity {config.images_per_identity} must be at least 2")
    require(config.triplet_bag_size >= 1, f"--triplet_bag_size {config.triplet_bag_size} must be at least 1")
    require(config.triplet_max_ap >= 0, f"--triplet_max_ap {config.triplet_max_ap} must not be negative; 0: any")
    require(0 < config.triplet_alpha <= 1, f"--triplet_alpha {config.triplet_alpha} must be above 0 and at most 1")
    if config.loss_name in TRIPLET_LOSSES:
        for key, without in _FOR_CENTRES.items():
            require(
                config[key] == without,
                f"--{key} {config[key]} is about class centres, and --loss {config.loss} has none; leave it away",
            )


def check_triplet_batch(config: Mapping[str, Any], ranks: int) -> None:
    """Check that each rank's part of the batch, and each piece of it, is whole triplets.

    Raises:
        UserError: it is not.
    """
    size, pieces = config["train_batch_size"] // ranks, config["gradient_accumulation"]
    if config["loss_name"] in TRIPLET_LOSSES and size // pieces % 3:
        raise UserError(
            f"--train_batch_size {config['train_batch_size']} over {ranks} rank(s) is {size} images for each"
            + (f", {size // pieces} for each of --gradient_accumulation {pieces}" if pieces > 1 else "")
            + f": --loss {config['loss']} needs a multiple of 3, anchors, positives and negatives"
        )


def open_bags(config: Mapping[str, Any], source: ImageSource) -> TripletBags:
    """Return the bags of ``source``.

    Raises:
        UserError: no bag can be filled.
    """
    labels = source.labels(np.arange(len(source)))
    return TripletBags(labels, config["images_per_identity"], config["triplet_bag_size"], config["seed"])
