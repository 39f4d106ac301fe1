"""Find wrong labels with a trained network: ``clean_dataset.py DIR --model MODEL --list LIST``.

DIR is a training set with train.rec or OFRecord parts. LIST is created: drop.csv (images whose angle to the centre of
their person is --max_angle or more), same_people.csv (pairs of classes that look like one person) and sheet.jpg
(both as pictures). Look at them, delete the lines you do not agree with, and write the set:

    python tools/dataset_convert/clean_dataset.py DIR --list LIST --output OUT

Or do both at once with --model, --list and --output. OUT has the form of DIR, with label_map.txt and rejected.csv.

The centre of a person is the dominant sub-centre, if MODEL is a snapshot of --num_subcenters trained on DIR, with the
rule of Sub-center ArcFace (Deng et al., ECCV 2020). Otherwise it is the mean of the person's images.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from pathlib import Path

import numpy as np

from common.errors import UserError, require, run_command
from common.files import atomic_directory
from common.flag_checks import check_flags
from common.wording import counted
from common.workers import add_workers_flag
from data.checking.write_clean import write_subset
from data.editing.drop_list import DROP_FILE, Dropped, read_drop_list, write_drop_list
from data.editing.merge import SourceSet, first_size, plan_merge
from data.editing.same_people import SAME_PEOPLE_FILE, SamePerson, read_same_people, write_same_people
from data.rejected import Rejection
from engine.embedding_flags import add_batch_flags
from interchange.open_model import FORMATS
from launch.devices import choose_device
from settings.input_flags import add_input_flags, input_flags

SHEET_FILE = "sheet.jpg"


def parse_arguments() -> argparse.Namespace:
    """Return the flags.

    Raises:
        UserError: they contradict each other, an output exists, or the list does not.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="DIR", help="the training set")
    parser.add_argument(
        "--list", required=True, metavar="LIST", help="folder of lists: created with --model or --embeddings, else read"
    )
    parser.add_argument("--model", default="", help=f"the network: {FORMATS}")
    add_input_flags(parser)
    parser.add_argument(
        "--embeddings",
        default="",
        metavar="FILE",
        help="the images' embeddings, by tools/embed.py, in place of computing",
    )
    parser.add_argument("--output", default="", metavar="OUT", help="folder to create for the cleaned set")
    parser.add_argument(
        "--max_angle",
        type=float,
        default=75.0,
        help="degrees to the person's centre from which on an image is dropped (default 75)",
    )
    parser.add_argument(
        "--same_above",
        type=float,
        default=0.5,
        help="cosine of mean embeddings above which two people are one (default 0.5)",
    )
    parser.add_argument("--subcenters", type=int, choices=(0, 1), default=1, help="0: ignore sub-centres of the model")
    add_workers_flag(parser, "processes")
    add_batch_flags(parser)
    args = parser.parse_args()
    require(args.dataset != "", "DIR is empty; give a path")
    check_flags(args, "list")
    args.makes_lists = bool(args.model or args.embeddings)
    require(args.makes_lists or bool(args.output), "give --model to make the lists, --output to write the set, or both")
    require(0 < args.max_angle <= 180, f"--max_angle {args.max_angle:g} is not in (0, 180]")
    require(-1 <= args.same_above <= 1, f"--same_above {args.same_above:g} is not a cosine; expected -1 to 1")
    new = [args.output] + [args.list] * args.makes_lists
    taken = [f"{path} exists already; remove it or choose another name" for path in new if path and Path(path).exists()]
    if taken:
        raise UserError(*taken)
    return args


def make_lists(args: argparse.Namespace, source: SourceSet) -> tuple[list[Dropped], list[SamePerson]]:
    """Embed the set and write the lists; return them."""
    from engine.cleaning import judge, read_subcentres, write_findings  # here, because OneFlow takes a second to load
    from engine.embedder import Embedder
    from engine.people import embed_people, read_people

    subcentres = read_subcentres(args.model, source.num_classes) if args.subcenters and args.model else None
    if args.embeddings:
        people = read_people(source, args.embeddings)
    else:
        device, _ = choose_device({"device": args.device, "device_num_per_node": 1})
        people = embed_people(
            source, Embedder.open(args.model, args.batch_size, device, input_flags(args)), args.num_workers
        )
    findings = judge(people, args.max_angle, args.same_above, subcentres)
    with atomic_directory(args.list) as directory:
        write_drop_list(directory / DROP_FILE, source.listing, findings.dropped)
        write_same_people(directory / SAME_PEOPLE_FILE, findings.same)
        write_findings(directory / SHEET_FILE, findings)
    centre = (
        "the mean of the images" if subcentres is None else f"the dominant one of {subcentres.shape[1]} sub-centres"
    )
    print(f"the centre of a person is {centre}")
    return findings.dropped, findings.same


def read_lists(args: argparse.Namespace, source: SourceSet) -> tuple[list[Dropped], list[SamePerson]]:
    """Read the lists of an earlier call."""
    folder = Path(args.list)
    dropped = read_drop_list(folder / DROP_FILE, source.listing, source.labels)
    return dropped, read_same_people(folder / SAME_PEOPLE_FILE, [source.num_classes])


def write_set(output: Path, source: SourceSet, dropped: list[Dropped], same: list[SamePerson]) -> None:
    """Write the set without the images of a list, the people of the other joined."""
    stays = np.ones(len(source.labels), bool)
    stays[[each.image for each in dropped]] = False
    require(
        bool(stays.any()), f"{source.listing.path}: all {len(stays)} images would be dropped; use a larger --max_angle"
    )
    numbers = np.flatnonzero(stays)
    labels = source.labels[numbers]
    (new_classes,) = plan_merge([SourceSet(source.listing, labels, source.num_classes)], same)
    people = int(new_classes.max()) + 1
    require(
        people > 1 or source.num_classes == 1,
        f"{source.listing.path}: the list makes one person of all; use a larger --same_above, or another model",
    )
    rejected = [
        Rejection(source.listing.describe(each.image), "far from its person", f"{each.angle:.1f} degrees")
        for each in sorted(dropped)
    ]
    write_subset(output, source.listing, numbers, new_classes, labels, first_size(source.listing)[0], rejected)
    print(
        f"{output}: {counted(len(numbers), 'image')} of {counted(people, 'person', 'people')}, --num_classes {people}"
    )


def main() -> None:
    """Parse the command line; make or read the lists, and write the set."""
    args = parse_arguments()
    source = SourceSet.open(args.dataset, args.num_workers)
    dropped, same = make_lists(args, source) if args.makes_lists else read_lists(args, source)
    print(
        f"{args.list}: {len(dropped)} of {counted(len(source.labels), 'image')} to drop, "
        f"{counted(len(same), 'pair')} of classes to join"
    )
    if args.output:
        write_set(Path(args.output), source, dropped, same)


if __name__ == "__main__":
    run_command(main)
