"""Convert a verification set {data_dir}/{dataset_name}.bin to an OFRecord part.

Writes part-0 (one record per image, with the issame of its pair), dataset.json and _SUCCESS directly into
--output_filepath, which must not exist yet (or be empty). Every image is decoded, and those that cannot be are named.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from pathlib import Path

from common.errors import run_command
from common.flag_checks import check_flags
from common.wording import counted
from common.workers import add_workers_flag
from data.conversion.convert import convert_bin


def main() -> None:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", required=True, help="folder with the .bin file")
    parser.add_argument("--output_filepath", required=True, help="folder to write")
    parser.add_argument("--dataset_name", default="lfw", help="name of the set, any (default %(default)s)")
    parser.add_argument("--no_decode", type=int, choices=(0, 1), default=0, help="1: do not decode the images")
    add_workers_flag(parser, "images decoded at a time")
    args = parser.parse_args()
    check_flags(args, "data_dir", "dataset_name", "output_filepath")
    path = Path(args.data_dir) / f"{args.dataset_name}.bin"
    info = convert_bin(path, args.output_filepath, not args.no_decode, args.num_workers)
    print(
        f"{args.output_filepath}: {counted(info['num_images'], 'image')}, {counted(info['num_pairs'], 'pair')}, "
        f"{info['num_same']} same"
    )


if __name__ == "__main__":
    run_command(main)
