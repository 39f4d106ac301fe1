"""Check the settings of the augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.errors import require

_SHARES = ("crop_augmentation_prob", "low_res_augmentation_prob", "photometric_augmentation_prob")


def check_augmentation(config: Mapping[str, Any]) -> None:
    """Check the settings of the augmentation and of the choice of identities.

    Raises:
        UserError: one is out of range.
    """
    require(config["data_shift"] >= 0, f"--data_shift {config['data_shift']} must not be negative")
    require(0 <= config["data_rotation"] <= 180, f"--data_rotation {config['data_rotation']} must be 0 to 180 degrees")
    for key in ("data_zoom", "data_stretch", "data_contrast", "data_brightness"):
        require(0 <= config[key] < 1, f"--{key} {config[key]} must be in [0, 1)")
    require(
        config["data_color"] in (0, 1, 2),
        f"--data_color {config['data_color']} must be 0 (off), 1 (colours) or 2 (colours and JPEG compression)",
    )
    size = config["image_size"]
    require(
        config["data_cutoff"] == 0 or 2 <= config["data_cutoff"] <= 2 * size,
        f"--data_cutoff {config['data_cutoff']} must be 0 (off) or 2 to {2 * size} pixels, twice the image's side",
    )
    require(
        config["data_images_filter"] >= 0, f"--data_images_filter {config['data_images_filter']} must not be negative"
    )
    for key in _SHARES:
        require(0 <= config[key] <= 1, f"--{key} {config[key]} is a share of the images and must be in [0, 1]")
