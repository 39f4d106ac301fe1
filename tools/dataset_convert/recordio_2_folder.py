"""Write the pictures of a training set as files, in one folder per person.

``python tools/dataset_convert/recordio_2_folder.py --data_dir datasets/faces_emore --output_dir photos`` also
takes OFRecord parts. Bytes are unchanged. Folders have the names in classes.txt, else the class numbers with leading
zeros, so that folder_2_recordio.py keeps the order of the classes; files have the keys of their records.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse

import numpy as np

from common.errors import run_command
from common.files import atomic_directory
from common.flag_checks import check_flags
from common.wording import counted
from common.workers import add_workers_flag
from data.editing.write_set import NewSet, Selection, write_folder
from data.listing.intact import open_intact


def main() -> None:
    """Parse the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", required=True, help="folder with train.rec or OFRecord parts, or a .rec file")
    parser.add_argument("--output_dir", required=True, help="folder to create")
    add_workers_flag(parser, "processes")
    args = parser.parse_args()
    check_flags(args, "data_dir", "output_dir")
    listing, labels = open_intact(args.data_dir, args.num_workers, any_size=True)
    num_classes = max(int(labels.max()) + 1, listing.num_classes or 0)
    selection = Selection(listing, np.arange(len(listing)), labels.astype(np.int64))
    with atomic_directory(args.output_dir, many_files=True) as directory:
        write_folder(directory, NewSet([selection], num_classes, None, listing.names))
    print(
        f"{args.output_dir}: {counted(len(listing), 'image')} of {counted(len(np.unique(labels)), 'person', 'people')}"
    )


if __name__ == "__main__":
    run_command(main)
