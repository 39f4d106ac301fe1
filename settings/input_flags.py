"""The flags that say how a model of another program takes its images, of all commands that open one."""

from __future__ import annotations

import argparse

from interchange.image_input import BGR, OWN_MEAN, OWN_SCALE, RGB, InputFlags
from settings.option import parse_factor

ORDER_HELP = "order of the channels that another program's model takes; snapshots take RGB"
MEAN_HELP = "number that is subtracted from the pixels, 0..255, if the model's file does not do it"
SCALE_HELP = "factor after that, such as 0.0078125 or 1/127.5; 0: the file's, or 1/127.5 if it has none"


def add_input_flags(parser: argparse.ArgumentParser) -> None:
    """Add --color_order, --input_mean and --input_scale."""
    parser.add_argument("--color_order", choices=(RGB, BGR), default=RGB, help=f"{ORDER_HELP} (default: {RGB})")
    parser.add_argument("--input_mean", type=float, default=OWN_MEAN, help=f"{MEAN_HELP} (default: {OWN_MEAN})")
    parser.add_argument("--input_scale", type=parse_factor, default=OWN_SCALE, help=SCALE_HELP)


def input_flags(args: argparse.Namespace) -> InputFlags:
    """Return what a command line says."""
    return InputFlags.of(vars(args))
