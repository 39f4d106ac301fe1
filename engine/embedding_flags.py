"""The flags of all commands that embed images with a model."""

from __future__ import annotations

import argparse


def add_flip_flag(parser: argparse.ArgumentParser) -> None:
    """Add --flip."""
    parser.add_argument(
        "--flip", type=int, choices=(0, 1), default=1, help="0: f(image) without the mirrored image (default: 1)"
    )


def add_device_flag(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")


def add_batch_flags(parser: argparse.ArgumentParser) -> None:
    """Add --batch_size and --device."""
    parser.add_argument("--batch_size", type=int, default=64, help="images that are computed at once (default: 64)")
    add_device_flag(parser)
