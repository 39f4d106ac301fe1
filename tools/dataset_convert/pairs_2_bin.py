"""Make a verification set of photos: a ``.bin``, and OFRecord parts as well with ``--ofrecord 1``.

    python tools/dataset_convert/pairs_2_bin.py --pairs pairs.txt --input_dir lfw --align 1 --output datasets/lfw.bin
    python tools/dataset_convert/pairs_2_bin.py --input_dir photos --draw 600 --align 1 --output datasets/mine.bin

``--pairs`` is LFW's pairs.txt, or lines ``path path 0/1`` (1: one person); its order is kept. ``--draw`` draws pairs
from a folder with one subfolder per person: as many of one person as of two, the same with the same seed, and in each
fold other people. Photos that give no image are not drawn; of a list they are an error unless ``--skip_bad 1`` leaves
their pairs out.

``--align 1`` takes photographs: it finds the face, chooses one of several, and aligns it. ``--resize 1`` takes aligned
faces of another size. Without both, the photos are aligned faces of --image_size and are stored unchanged.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from functools import partial
from pathlib import Path

from common.errors import UserError, require, run_command, shorten
from common.flag_checks import find_mistakes
from common.text_files import read_lines
from common.wording import counted
from common.workers import add_workers_flag
from data.conversion.convert import convert_bin
from data.pairs.draw import draw_pairs
from data.pairs.images import PairPhotos, draw_usable, write_pairs
from data.pairs.lists import Pair, read_pairs
from data.photos.detectors import open_detector
from data.photos.flags import add_face_flags, add_size_flags, find_contradictions
from data.photos.prepare import PhotoRules
from data.photos.walk import printable, walk_people
from data.rejected import REJECTED_FILE, Rejection, summarize, write_rejected

FOLDS = 10


def parse_arguments() -> argparse.Namespace:
    """Return the checked command line.

    Raises:
        UserError: a flag is out of range, or two contradict each other.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", default="", help="list of pairs: LFW's pairs.txt, or lines 'path path 0/1'")
    parser.add_argument("--draw", type=int, default=0, help="draw this many pairs from the people of --input_dir")
    parser.add_argument(
        "--input_dir", default="", help="folder of the photos; with --pairs by default the folder of the list"
    )
    parser.add_argument("--output", required=True, help="the .bin to write; its name is the name of the set")
    parser.add_argument(
        "--ofrecord", type=int, choices=(0, 1), default=0, help="1: also OFRecord parts, in a folder beside the .bin"
    )
    add_face_flags(parser)
    add_size_flags(parser)
    parser.add_argument(
        "--folds", type=int, default=FOLDS, help=f"folds of the verification, its --nrof_folds (default: {FOLDS})"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of --draw (default: 0)")
    parser.add_argument(
        "--leave_out", default="", help="draw no people named in this file, such as classes.txt of a training set"
    )
    parser.add_argument(
        "--skip_bad",
        type=int,
        choices=(0, 1),
        default=0,
        help="1: leave out pairs of a list whose photos give no image",
    )
    add_workers_flag(parser, "number of processes")
    args = parser.parse_args()
    output = Path(args.output)
    mistakes = {
        "give either --pairs FILE or --draw N": bool(args.pairs) == bool(args.draw),
        "--draw needs --input_dir, a folder with one subfolder of photos per person": args.draw and not args.input_dir,
        f"--leave_out {args.leave_out} needs --draw; --pairs names every photo": args.leave_out and args.pairs,
        **dict.fromkeys(find_contradictions(args), True),
        f"--output {output}: the name must end in .bin": output.suffix != ".bin",
        f"--output {output}: {output.stem!r} becomes the name of the set and of flags: use printable characters, "
        "no comma and no blank": not output.stem.isprintable() or {*output.stem} & {",", " "},
        f"{output} exists already; remove it or choose another --output": output.exists(),
        f"{output.with_suffix('')} exists already; remove it or choose another --output": args.ofrecord
        and output.with_suffix("").exists(),
        f"--draw {args.draw} must be at least 0": args.draw < 0,
        **dict.fromkeys(find_mistakes(args, "output"), True),
    }
    if any(mistakes.values()):
        raise UserError(*(message for message, is_made in mistakes.items() if is_made))
    return args


def make_list(args: argparse.Namespace, photos: PairPhotos) -> list[Pair]:
    """Return the pairs of the list, with their images made.

    Raises:
        UserError: the list is wrong or too short, or photos give no image and ``--skip_bad`` is 0.
    """
    listed = read_pairs(args.pairs, args.input_dir or Path(args.pairs).parent)
    pairs = photos.usable(listed)
    rejections = list(photos.rejections.values())
    if rejections and not args.skip_bad:
        raise UserError(
            *shorten([_describe(rejection) for rejection in rejections], "photos that give no image"),
            f"{args.pairs}: {len(rejections)} photos give no image ({summarize(rejections)}), so "
            f"{len(listed) - len(pairs)} of {len(listed)} pairs cannot be made; mend the photos, or leave these pairs "
            "out with --skip_bad 1",
        )
    require(
        len(pairs) >= args.folds,
        f"{args.pairs}: {len(pairs)} pairs are too few for {args.folds} folds; add some, or set a smaller --folds",
    )
    same = sum(pair.same for pair in pairs)
    require(
        0 < same < len(pairs),
        f"{args.pairs}: none of the {len(pairs)} pairs is of {'two people' if same else 'one person'}; a verification "
        "needs pairs of both kinds",
    )
    return pairs


def draw(args: argparse.Namespace, photos: PairPhotos) -> list[Pair]:
    """Return drawn pairs, with their images made.

    Raises:
        UserError: the people or photos are too few, or the names to leave out cannot be read.
    """
    people = walk_people(args.input_dir).people
    if args.leave_out:
        names = set(read_lines(args.leave_out, "--leave_out", keep_bytes=True))
        people = {name: paths for name, paths in people.items() if name not in names}
        require(
            bool(people),
            f"--leave_out {args.leave_out} names all people in {args.input_dir}; keep some out of training",
        )
    return draw_usable(people, partial(draw_pairs, count=args.draw, folds=args.folds, seed=args.seed), photos)


def _describe(rejection: Rejection) -> str:
    details = f" ({rejection.details})" if rejection.details else ""
    return f"{printable(rejection.file)}: {rejection.reason}{details}"


def main() -> None:
    """Parse the command line and write the set."""
    args = parse_arguments()
    output = Path(args.output)
    detector = open_detector(args.detector) if args.align else None
    photos = PairPhotos(PhotoRules(args.image_size, detector, bool(args.resize), args.min_size), args.num_workers)
    pairs = make_list(args, photos) if args.pairs else draw(args, photos)
    write_pairs(output, pairs, photos)
    if args.ofrecord:
        convert_bin(output, output.with_suffix(""))
    same, used = sum(pair.same for pair in pairs), len({side for pair in pairs for side in pair[:2]})
    print(
        f"{printable(output)}: {counted(len(pairs), 'pair')} of {counted(used, 'photo')}, "
        f"{same} of one person and {len(pairs) - same} of two"
    )
    if photos.rejections:
        rejected = output.with_name(f"{output.stem}.{REJECTED_FILE}")
        write_rejected(rejected, photos.rejections.values())
        print(f"left out: {summarize(photos.rejections.values())}; {printable(rejected)} lists them")
    folds = f" --nrof_folds {args.folds}" if args.folds != FOLDS else ""
    print(printable(f"verify with: --val_targets {output.stem} --{output.stem}_dataset_dir {output}{folds}"))


if __name__ == "__main__":
    run_command(main)
