"""Check a dataset before training on it: ``python tools/dataset_convert/check_dataset.py datasets/faces_emore``.

DIR is a folder with train.rec, with OFRecord parts, or with a subfolder of photos per person, or a verification .bin.
Every image is decoded. Prints what is bad (record or file, byte, reason), sizes, missing labels, images that occur
twice, under several people, or in the verification sets too. Exit code 1: some images cannot be used.

Images are the same if their pixels are; files that differ in metadata only therefore count, re-encoded ones do not.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from pathlib import Path

from common.errors import UserError, require, run_command
from common.files import make_directory
from common.flag_checks import check_flags
from common.workers import add_workers_flag
from data.checking.check import CheckedSet, check_set, find_verification_sets
from data.checking.clean import DROPPED, parse_kinds
from data.checking.report import describe, write_json, write_report
from data.checking.write_clean import write_clean
from data.listing import Listing, open_listing
from data.photos.walk import printable, require_outside

NONE = "none"


def open_verification_sets(names: str, path: Path) -> list[Listing]:
    """Open the sets ``A,B`` of --verification, or those beside the training set if it is empty.

    Raises:
        UserError: one is missing, damaged, or not a verification set.
    """
    if names == NONE:
        return []
    paths = [Path(name) for name in names.split(",")] if names else find_verification_sets(path)
    listings = [open_listing(each) for each in paths]
    for each in listings:
        require(each.issame is not None, f"--verification {each.path} is a training set; give .bin files")
    return listings


def _check_output(path: Path, flag: str, is_folder: bool) -> None:
    """Raise ``UserError`` before the work if the kind of an output is not what lies there."""
    if path.exists() and path.is_dir() != is_folder:
        raise UserError(f"{flag} {path} is {'not a' if is_folder else 'a'} folder; choose another name")


def parse_arguments() -> argparse.Namespace:
    """Return the flags.

    Raises:
        UserError: a number is out of range.
    """
    drops = "\n".join(f"  {name}: {text}" for name, (_, text) in DROPPED.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"what --drop names:\n{drops}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", metavar="DIR", help="the dataset")
    add_workers_flag(parser, "processes")
    parser.add_argument("--image_size", type=int, help="height and width that images must have (default: the set's)")
    parser.add_argument(
        "--verification",
        default="",
        help=f"verification sets to compare with, A.bin,B.bin (default: the .bin files in DIR; '{NONE}' for none)",
    )
    parser.add_argument("--report", default="", help="folder for check.json, lists as CSV, a chart and a contact sheet")
    parser.add_argument("--json", default="", help="file for everything as JSON")
    parser.add_argument("--write_clean", default="", metavar="OUT", help="write the set without what is bad")
    parser.add_argument(
        "--drop", default=",".join(DROPPED), help="what --write_clean leaves out (default: %(default)s; see below)"
    )
    args = parser.parse_args()
    require(args.dataset != "", "DIR is empty; give a path")
    check_flags(args)
    return args


def main() -> int:
    """Check, print, and write what was asked for."""
    args = parse_arguments()
    kinds, path, output = parse_kinds(args.drop), Path(args.dataset), Path(args.write_clean)
    if args.write_clean and output.exists():
        raise UserError(f"--write_clean {output} exists already; remove it or choose another name")
    listing = open_listing(path)
    for flag, place in (("--json", args.json), ("--report", args.report), ("--write_clean", args.write_clean)):
        if place:
            _check_output(Path(place), flag, is_folder=flag == "--report")
            if listing.kind == "folder":
                require_outside(place, path, flag)
            make_directory(Path(place).absolute().parent, flag)
    verification = [] if listing.issame is not None else open_verification_sets(args.verification, path)
    checked = check_set(listing, verification, args.num_workers, args.image_size)
    for line in describe(checked):
        print(printable(line))
    if args.json:
        write_json(args.json, checked)
    if args.report:
        write_report(Path(args.report), checked)
        print(f"report: {args.report}")
    if args.write_clean:
        print(printable(write_clean(output, checked, kinds)))
        return 0
    return int(has_problems(checked))


def has_problems(checked: CheckedSet) -> bool:
    """Tell whether training would end because of the set, or train on less than it seems to hold."""
    beyond = checked.classes is not None and checked.classes.images_beyond > 0
    return bool(checked.is_unusable.any() or checked.listing.damage or checked.listing.problems or beyond)


if __name__ == "__main__":
    run_command(main)
