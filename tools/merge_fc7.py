"""Write a snapshot's class centres as one file: ``python tools/merge_fc7.py --model_load_dir DIR --output fc7.npy``.

The file is a numpy array, float32 [classes, E], whose row c is class c, for any number of shards. It is written in
pieces, so it may be larger than memory. ``--array fc7_bias`` writes the bias of a plain softmax,
``fc7_weight_momentum`` the momentum.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from pathlib import Path

import numpy as np

from common.errors import UserError, run_command
from common.files import atomic_file
from common.progress import progress
from snapshots.reader import Snapshot

CHUNK = 65536  # rows


def merge_fc7(snapshot: Snapshot, array: str, output: Path) -> tuple[int, ...]:
    """Merge the array ``array`` of all shards into ``output``; return its shape.

    Raises:
        UserError: the snapshot has no class rows, or no array of this name.
    """
    if not snapshot.has_classes:
        raise UserError(f"{snapshot.path} has no class rows: it is a backbone-only snapshot or one of a triplet loss")
    classes = snapshot.about["fc7"]["num_classes"]
    empty = snapshot.head_rows(0, 0)
    if array not in empty:
        raise UserError(f"--array {array}: {snapshot.path} has only {', '.join(sorted(empty))}; name one of them")
    shape = (classes, *empty[array].shape[1:])
    with atomic_file(output) as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in progress(range(0, classes, CHUNK), desc="rows", unit="chunk"):
            rows = snapshot.head_rows(start, min(start + CHUNK, classes))[array]
            file.write(np.ascontiguousarray(rows, np.float32).tobytes())
    return shape


def main() -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_load_dir", required=True, help="the snapshot")
    parser.add_argument("--output", required=True, help="the .npy file to write")
    parser.add_argument("--array", default="fc7_weight", help="the array to write")
    args = parser.parse_args()
    if not args.output.endswith(".npy"):
        raise UserError(f"--output {args.output}: the file is a numpy array, so its name must end in .npy")
    shape = merge_fc7(Snapshot.open(args.model_load_dir), args.array, Path(args.output))
    print(f"{args.output}: {args.array} {' x '.join(map(str, shape))}")


if __name__ == "__main__":
    run_command(main)
