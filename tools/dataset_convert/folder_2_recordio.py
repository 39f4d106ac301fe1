"""Make a training set in the layout of InsightFace of a folder of photos, with one subfolder per person.

``--align 1`` takes photographs: it finds the face, chooses one of several, and aligns it. ``--resize 1`` takes aligned
faces of another size. Without both, the photos are aligned faces of --image_size and are stored unchanged.

    python tools/dataset_convert/folder_2_recordio.py --input_dir photos --output_dir datasets/mine --align 1

Photos are recognised by their content, not by their name, and photos in folders below a person's belong to the person.
Names that begin with ".", "@" or "__" are left out. The output holds train.rec, train.idx and property; classes.txt
with the person of each class, in the order of the names; images.csv with the photo and the sharpness of each image;
rejected.csv with what was left out and why; and sheet.jpg, which shows a sample of both.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from pathlib import Path

from common.errors import UserError, run_command
from common.flag_checks import find_mistakes
from common.wording import counted
from common.workers import add_workers_flag
from data.photos.build import PARTS_FOLDER, SHEET_FILE, PhotoDataset, describe_rejections, write_photo_dataset
from data.photos.detectors import open_detector
from data.photos.flags import add_face_flags, add_size_flags, find_contradictions
from data.photos.prepare import PhotoRules
from data.photos.walk import PeopleFolder, printable, require_outside, walk_people
from data.rejected import REJECTED_FILE

_SHOWN = 10


def parse_arguments() -> argparse.Namespace:
    """Return the checked command line.

    Raises:
        UserError: a flag is out of range, or two contradict each other.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input_dir", required=True, help="folder with one subfolder of photos per person")
    parser.add_argument("--output_dir", required=True, help="folder to create")
    add_size_flags(parser)
    add_face_flags(parser)
    parser.add_argument(
        "--min_sharpness",
        type=float,
        default=0,
        help="leave out images whose sharpness, which images.csv and sheet.jpg show, is less (default: 0)",
    )
    parser.add_argument("--ofrecord", type=int, choices=(0, 1), default=0, help="1: write OFRecord parts as well")
    add_workers_flag(parser, "number of processes")
    args = parser.parse_args()
    mistakes = find_contradictions(args) + find_mistakes(args, "input_dir", "output_dir")
    if Path(args.output_dir).exists():
        mistakes.append(f"{printable(args.output_dir)} exists already; remove it or choose another --output_dir")
    if mistakes:
        raise UserError(*mistakes)
    return args


def print_result(folder: PeopleFolder, dataset: PhotoDataset, output: str) -> None:
    """Print how many images were made, and what was left out."""
    print(f"{output}: {counted(len(dataset.kept), 'image')} of {counted(len(dataset.classes), 'person', 'people')}")
    for line in describe_rejections(dataset.rejections):
        print(f"left out: {line}")
    if dataset.rejections:
        print(f"{output}/{REJECTED_FILE} lists what was left out")
    print(f"{output}/{SHEET_FILE} shows a sample; look at it before training")
    without = dataset.without_images
    if without:
        more = f", and {len(without) - _SHOWN} more" if len(without) > _SHOWN else ""
        print(f"warning: no class for people without an image: {', '.join(map(printable, without[:_SHOWN]))}{more}")
    if len(dataset.classes) == 1:
        person = dataset.classes[0]
        name, has_folders = printable(folder.root / person), len({photo.parent for photo in folder.people[person]}) > 1
        way = f"; if the subfolders of {name} are people, set --input_dir {name}" if has_folders else ""
        print(f"warning: all images are of one person, but training compares people{way}")


def main() -> None:
    """Parse the command line and write the dataset."""
    args = parse_arguments()
    rules = PhotoRules(
        args.image_size,
        open_detector(args.detector) if args.align else None,
        bool(args.resize),
        args.min_size,
        args.min_sharpness,
    )
    require_outside(args.output_dir, args.input_dir, "--output_dir")
    folder = walk_people(args.input_dir)
    dataset = write_photo_dataset(folder, args.output_dir, rules, args.num_workers, bool(args.ofrecord))
    output = printable(args.output_dir)
    print_result(folder, dataset, output)
    if args.ofrecord:
        print(f"{output}/{PARTS_FOLDER}: the same images as OFRecord parts")


if __name__ == "__main__":
    run_command(main)
