"""How a RecordIO set is read where it is not perfect: the flags of the commands that read one."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.flag_checks import check_flags
from common.workers import add_workers_flag


@dataclass(frozen=True)
class RecordIOOptions:
    """What to do about faults of a set.

    Attributes:
        ignore_idx: read every record of the ``.rec`` without its ``.idx``; False: only the images that the ``.idx``
            lists; None: an ``.idx`` that leaves images out is an error.
        renumber_labels: number the classes 0, 1, 2, ... in the order of the labels, and write the map.
        skip_bad: leave out what is damaged or cannot be decoded, and list it in ``rejected.csv``; else it is an error.
        decode: decode every image to find the bad ones.
        num_workers: threads that decode and write.
    """

    ignore_idx: bool | None = None
    renumber_labels: bool = False
    skip_bad: bool = False
    decode: bool = True
    num_workers: int = 1


DEFAULT_OPTIONS = RecordIOOptions()


def add_recordio_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which set is read, and how."""
    switch = {"type": int, "choices": (0, 1)}
    parser.add_argument("--data_dir", help="folder with train.rec (and train.idx, property)")
    parser.add_argument("--rec", help="a .rec file of any name, in place of --data_dir; its .idx has the same name")
    parser.add_argument(
        "--ignore_idx",
        **switch,
        help="1: read every record of the .rec without the .idx; 0: only the images that the .idx lists "
        "(default: an .idx that leaves images out is an error)",
    )
    parser.add_argument(
        "--renumber_labels",
        **switch,
        default=0,
        help="1: number the classes 0, 1, 2, ... in the order of the labels, and write label_map.txt",
    )
    parser.add_argument(
        "--skip_bad",
        **switch,
        default=0,
        help="1: leave out images that are damaged, and list them in rejected.csv (default: they are an error)",
    )
    parser.add_argument(
        "--no_decode", **switch, default=0, help="1: do not decode the images; damaged ones are then found by training"
    )
    add_workers_flag(parser, "images decoded at a time")


def place_and_options(args: argparse.Namespace) -> tuple[Path, RecordIOOptions]:
    """Return the ``.rec`` file or folder and the options of the flags.

    Raises:
        UserError: neither or both of ``--data_dir`` and ``--rec`` are given, or a number is out of range.
    """
    if (args.data_dir is None) == (args.rec is None):
        raise UserError("give either --data_dir (the folder with train.rec) or --rec (a .rec file of any name)")
    check_flags(args, "data_dir", "rec", "output_filepath")
    options = RecordIOOptions(
        None if args.ignore_idx is None else bool(args.ignore_idx),
        bool(args.renumber_labels),
        bool(args.skip_bad),
        not args.no_decode,
        args.num_workers,
    )
    return Path(args.rec or args.data_dir), options
