"""Join training sets: ``python tools/dataset_convert/merge_datasets.py A B --output C``.

A, B, ... are folders with train.rec or OFRecord parts, or .rec files. Classes get consecutive numbers: those of A, then
those of B, and so on. label_map_1.txt, label_map_2.txt, ... in C say which class of each set became which class of C.
With --same_labels 1 equal labels are one person: A, B, ... are the files of one set, such as im2rec --chunks writes.

People who are in two sets become one with --same_people FILE, a CSV whose columns are set_1,class_1,set_2,class_2 (sets
are numbered 1, 2, ...). --model MODEL finds them by the cosine of their mean embeddings and writes that CSV, with a
contact sheet, into --list DIR. Without --output the command ends there:

    python tools/dataset_convert/merge_datasets.py A B --model MODEL --list same
    (look at same/sheet.jpg, delete wrong lines of same/same_people.csv)
    python tools/dataset_convert/merge_datasets.py A B --same_people same/same_people.csv --output C
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
from common.files import atomic_directory
from common.flag_checks import check_flags
from common.wording import counted
from common.workers import add_workers_flag
from data.editing.merge import SourceSet, common_size, merged_set, open_sources, plan_merge, write_label_maps
from data.editing.same_people import SAME_PEOPLE_FILE, SamePerson, read_same_people, write_same_people
from data.editing.write_set import WRITERS
from engine.embedding_flags import add_batch_flags
from interchange.open_model import FORMATS
from launch.devices import choose_device
from settings.input_flags import add_input_flags, input_flags


def parse_arguments() -> argparse.Namespace:
    """Return the flags.

    Raises:
        UserError: they contradict each other, or an output exists.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", metavar="SET", help="the training sets, at least two")
    parser.add_argument("--output", default="", help="folder to create")
    parser.add_argument("--ofrecord", type=int, choices=(0, 1), default=0, help="1: write OFRecord parts, not recordio")
    parser.add_argument("--num_part", "--part_num", type=int, default=1, help="number of OFRecord parts (default 1)")
    parser.add_argument(
        "--same_labels",
        type=int,
        choices=(0, 1),
        default=0,
        help="1: equal labels are one person, as in the files of im2rec --chunks",
    )
    parser.add_argument("--same_people", default="", metavar="FILE", help="CSV of the people who are in several sets")
    parser.add_argument("--model", default="", help=f"find these people with a model: {FORMATS}")
    add_input_flags(parser)
    parser.add_argument(
        "--same_above", type=float, default=0.5, help="cosine of mean embeddings above which two are one (default 0.5)"
    )
    parser.add_argument("--list", default="", metavar="DIR", help="folder to create for what --model finds")
    add_workers_flag(parser, "processes")
    add_batch_flags(parser)
    args = parser.parse_args()
    check_flags(args)
    require(len(args.datasets) > 1, f"found one set, {args.datasets[0]}; give at least two")
    ways = [flag for flag in ("same_labels", "same_people", "model") if getattr(args, flag)]
    require(len(ways) < 2, f"{' and '.join(f'--{way}' for way in ways)} are both given; use one of them")
    require(bool(args.output or args.model), "--output is missing: the folder for the joint set")
    require(
        bool(args.list) == bool(args.model), "--model needs --list DIR, the folder for what it finds, and vice versa"
    )
    require(-1 <= args.same_above <= 1, f"--same_above {args.same_above} is not a cosine; expected -1 to 1")
    taken = [
        f"{path} exists already; remove it or choose another name"
        for path in (args.output, args.list)
        if path and Path(path).exists()
    ]
    if taken:
        raise UserError(*taken)
    return args


def find_same_people(args: argparse.Namespace, sources: list[SourceSet]) -> list[SamePerson]:
    """Embed the sets, list who is in two of them, and return the list."""
    from engine.embedder import Embedder  # here, because OneFlow takes a second to load
    from engine.people import embed_people, find_between, write_pairs

    device, _ = choose_device({"device": args.device, "device_num_per_node": 1})
    embedder = Embedder.open(args.model, args.batch_size, device, input_flags(args))
    people = [embed_people(source, embedder, args.num_workers) for source in sources]
    found = find_between(people, args.same_above)
    with atomic_directory(args.list) as directory:
        write_same_people(directory / SAME_PEOPLE_FILE, found)
        write_pairs(directory / "sheet.jpg", people, found)
    print(f"{args.list}: {counted(len(found), 'pair')} of people with a cosine above {args.same_above:g}")
    return found


def main() -> None:
    """Parse the command line, list and join."""
    args = parse_arguments()
    sources = open_sources(args.datasets, args.num_workers)
    common_size([source.listing for source in sources])
    same: list[SamePerson] = []
    if args.same_people:
        same = read_same_people(args.same_people, [source.num_classes for source in sources])
    elif args.model:
        same = find_same_people(args, sources)
    if not args.output:
        return
    new_classes = plan_merge(sources, same, bool(args.same_labels))
    new = merged_set(sources, new_classes, args.num_part)
    require(
        new.num_classes > 1 or all(source.num_classes == 1 for source in sources),
        "the pairs of classes make one person of all; use a larger --same_above, another model, or another list",
    )
    with atomic_directory(args.output) as directory:
        WRITERS["ofrecord" if args.ofrecord else "recordio"](directory, new)
        write_label_maps(directory, sources, new_classes)
    for number, (source, classes) in enumerate(zip(sources, new_classes, strict=True), start=1):
        used = classes[classes >= 0]
        print(
            f"set {number}, {source.listing.path}: {counted(len(source.labels), 'image')}, "
            f"classes {used.min()} to {used.max()}"
        )
    joined = f", {counted(len(same), 'pair')} of classes joined" if same else ""
    print(
        f"{args.output}: {counted(len(new), 'image')} of {counted(new.num_classes, 'person', 'people')}{joined}, "
        f"--num_classes {new.num_classes}"
    )


if __name__ == "__main__":
    run_command(main)
