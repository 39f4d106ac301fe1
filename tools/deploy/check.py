"""Run a model in every runtime that is installed, on real faces: accuracy, agreement, speed and size.

    python tools/deploy/check.py DIR --pairs orl
    python tools/deploy/check.py DIR y1_int8.onnx y1_ncnn/model.param --pairs lfw.bin --json table.json

The first is the model, with which all are compared; the others are files made of it: .onnx, .xml, .param, .mnn or
.tflite. Prints a Markdown table. "alone" is the least cosine between an image's embedding in a batch of eight and by
itself. Runtimes that are not installed are listed with the command that installs them.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import json

from common.errors import UserError, collecting, nearest, run_command
from common.files import atomic_file, check_target
from deploy.candidates import NAMES
from deploy.check import check_runtimes, format_rows
from evaluation.report_form import to_json
from interchange.open_model import FORMATS


def parse_arguments() -> argparse.Namespace:
    """Return the checked command line.

    Raises:
        UserError: a flag is wrong; all mistakes are listed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help=f"the model: {FORMATS}; then files made of it")
    parser.add_argument(
        "--pairs",
        default="orl",
        help="faces to compare on: orl (the demo's set), a verification .bin, or a folder of faces without pairs",
    )
    parser.add_argument("--runtimes", default=",".join(NAMES), help="which to run, with commas (default: all)")
    parser.add_argument("--speed", type=int, choices=(0, 1), default=1, help="0: do not measure images per second")
    parser.add_argument("--json", default="", help="file to write the table to as JSON")
    args = parser.parse_args()
    args.runtimes = tuple(name for name in args.runtimes.split(",") if name)
    mistakes = [
        f"--runtimes {name} is unknown; known: {', '.join(NAMES)}{nearest(name, NAMES)}"
        for name in args.runtimes
        if name not in NAMES
    ]
    if not args.pairs:
        mistakes.append("--pairs is empty; give orl, a .bin of pairs or a folder of faces")
    if args.json:
        with collecting(mistakes):
            check_target(args.json, "--json")
    if mistakes:
        raise UserError(*mistakes)
    return args


def main() -> None:
    """Parse the command line, run the runtimes, print and write the table."""
    args = parse_arguments()
    rows = check_runtimes(args.files, args.pairs, args.runtimes, bool(args.speed))
    print(format_rows(rows))
    if args.json:
        with atomic_file(args.json, "w") as file:
            json.dump({"pairs": args.pairs, "model": args.files[0], "rows": to_json(rows)}, file, indent=1)


if __name__ == "__main__":
    run_command(main)
