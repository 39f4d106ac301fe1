"""Checks of flags that several commands have: the ranges of numbers, and paths that must not be empty."""

from __future__ import annotations

import argparse
from typing import NamedTuple

from common.errors import UserError


class Range(NamedTuple):
    """The least and the largest value of a flag."""

    least: float
    most: float = float("inf")


RANGES = {
    "batch_size": Range(1, 65_536),
    "folds": Range(2),
    "image_size": Range(16, 4096),
    "min_sharpness": Range(0),
    "min_size": Range(0),
    "num_part": Range(1, 99_999),
    "num_workers": Range(1, 1024),
    "seed": Range(0, 2**63 - 1),
}
"""The range of each flag, wherever a command has it."""


def find_mistakes(args: argparse.Namespace, *paths: str) -> list[str]:
    """Return a message for each flag among ``paths`` that is empty, and for each number outside the range of its flag.

    An empty path would mean the current folder, and is what a shell makes of a variable that is not set. NaN is outside
    of any range.
    """
    messages = [f"--{flag} is empty; give a path" for flag in paths if getattr(args, flag) == ""]
    for flag, (least, most) in RANGES.items():
        value = getattr(args, flag, None)
        if value is not None and not value >= least:
            messages.append(f"--{flag} {value} must be at least {least}")
        elif value is not None and value > most:
            messages.append(f"--{flag} {value} must be at most {most}")
    return messages


def check_flags(args: argparse.Namespace, *paths: str) -> None:
    """Check flags as ``find_mistakes`` does.

    Raises:
        UserError: there are mistakes; all are listed.
    """
    messages = find_mistakes(args, *paths)
    if messages:
        raise UserError(*messages)
