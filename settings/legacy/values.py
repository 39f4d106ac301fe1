"""Values of older trainers that are not written as ours are."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

# The OneFlow port had one network function for each depth.
NET_NAMES: Mapping[str, dict[str, Any]] = {
    f"{kind}{depth}": {"net_name": "fresnet", "num_layers": depth}
    for kind in ("fresnet", "resnet")
    for depth in (50, 100)
}


def parse_image_shape(text: str) -> int:
    """Return the side of a square of three colours: 112 for 112,112,3 or (112, 112, 3).

    Raises:
        ArgumentTypeError: it is something else.
    """
    sizes = [size.strip() for size in text.strip("()[] ").split(",")]
    if len(sizes) != 3 or sizes[0] != sizes[1] or sizes[2] != "3" or not sizes[0].isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is no square of three colours such as 112,112,3")
    return int(sizes[0])


def fit_scales(config: dict[str, Any], is_given: bool) -> None:
    """Make ``scales`` as many as ``lr_steps``.

    An older list begins with the 1 that holds before the first step. Where scales are not given, and of another number,
    each step is a tenth, as in train.py.
    """
    steps, scales = config["lr_steps"], config["scales"]
    if len(scales) == len(steps) + 1 and scales[0] == 1:
        config["scales"] = scales[1:]
    elif not is_given and len(scales) != len(steps):
        config["scales"] = [round(0.1 ** (i + 1), 12) for i in range(len(steps))]
