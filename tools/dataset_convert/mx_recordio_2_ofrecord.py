"""Convert a RecordIO training set (train.rec, train.idx, property) to one OFRecord part, in the order of train.rec.

Writes part-00000, dataset.json and _SUCCESS into --output_filepath, which must not exist yet (or be empty). The labels,
the .idx and property are judged before, and every image is decoded; what is wrong is said in one go.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse

from common.errors import run_command
from common.wording import counted
from data.conversion.convert import convert_recordio
from data.recordio.options import add_recordio_flags, place_and_options


def main() -> None:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_recordio_flags(parser)
    parser.add_argument("--output_filepath", required=True, help="folder to write; dataset_dir of the config")
    args = parser.parse_args()
    place, options = place_and_options(args)
    info = convert_recordio(place, args.output_filepath, options=options)
    print(
        f"{args.output_filepath}: {counted(info['num_images'], 'image')} of {counted(info['num_classes'], 'class')} "
        "in 1 part"
    )


if __name__ == "__main__":
    run_command(main)
