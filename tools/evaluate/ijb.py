"""Evaluate a model on IJB-B or IJB-C: 1:1 verification and 1:N identification of templates.

    python tools/evaluate/ijb.py --data_dir IJBC --model_load_dir DIR --output ijbc

--data_dir holds meta/ and loose_crop/ as they are distributed. The faces are aligned by the landmarks of the list. The
embeddings are kept in --output, and a killed command is taken up where it was; --embeddings takes stored ones instead.

Prints the tables of InsightFace's scripts and writes report.json, roc.png and identification.png.
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
from common.workers import available_cpus
from data.ijb.meta import GALLERIES, MetaFiles, find_meta
from data.image_lists.images import list_images
from data.photos.prepare import PhotoRules
from engine.embedding_flags import add_batch_flags
from engine.template_set import BOTH, IDENTIFICATION, VERIFICATION, read_template_set
from engine.template_sums import open_template_sums
from evaluation.templates.features import read_features
from evaluation.templates.modes import ALONE, SIDE_BY_SIDE, SUM, Mode, parse_modes
from evaluation.templates.protocol import evaluate_mode
from evaluation.templates.report import format_identification, format_verification, write_report
from interchange.open_model import FORMATS, open_model
from launch.devices import choose_device
from settings.input_flags import add_input_flags, input_flags
from snapshots.layout import describe_network


def parse_arguments() -> argparse.Namespace:
    """Return the checked command line.

    Raises:
        UserError: a flag is out of range, or two contradict each other.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", required=True, help="folder with meta and loose_crop, or the folder above")
    parser.add_argument("--target", choices=tuple(GALLERIES), default="", help="which set (default: the one there)")
    parser.add_argument("--model_load_dir", default="", help=FORMATS)
    add_input_flags(parser)
    parser.add_argument(
        "--embeddings",
        nargs="+",
        default=[],
        metavar="FILE",
        help="one or two .npz of tools/embed.py, or one of ijb_evals.py, in place of --model_load_dir",
    )
    parser.add_argument("--output", required=True, help="folder to write")
    parser.add_argument(
        "--protocol", choices=(BOTH, VERIFICATION, IDENTIFICATION), default=BOTH, help="1:1, 1:N or both (default)"
    )
    parser.add_argument(
        "--modes",
        default="N1D1F2",
        help="N1 keeps norms, N0 does not; D1 multiplies by the detector score, D0 does not; F2 adds image and "
        "mirrored image, F1 puts them side by side, F0 takes the image alone; several separated by commas, or all: "
        "the eight of N, D, F2 and F0 (default: N1D1F2)",
    )
    parser.add_argument(
        "--num_workers", type=int, default=available_cpus(), help="images prepared at a time (default: all CPUs)"
    )
    add_batch_flags(parser)
    args = parser.parse_args()
    mistakes = {
        "give either --model_load_dir or --embeddings": bool(args.model_load_dir) == bool(args.embeddings),
        f"--batch_size {args.batch_size} must be at least 1": args.batch_size < 1,
        f"--num_workers {args.num_workers} must be at least 1": args.num_workers < 1,
    }
    if any(mistakes.values()):
        raise UserError(*(message for message, is_made in mistakes.items() if is_made))
    return args


def embed(args: argparse.Namespace, files: MetaFiles, modes: tuple[Mode, ...]) -> list[Path]:
    """Embed the images for the modes and return the files of embeddings.

    Raises:
        UserError: the model or images cannot be read.
    """
    images = list_images(files.landmarks, files.images)
    require(images.has_landmarks, f"{files.landmarks} has no landmarks, by which the faces are aligned")
    model = open_model(args.model_load_dir, input_flags(args))
    model.print_notes()
    device, _ = choose_device({"device": args.device, "device_num_per_node": 1})
    # Imported here because it takes seconds, and mistakes are said before.
    from engine.embed_images import EmbeddingTask
    from engine.embed_once import embed_once

    rules = PhotoRules(describe_network(model.network)["input"]["height"])
    flips = {mode.flip for mode in modes}
    wanted = {
        "embeddings.npz": bool(flips & {SUM, SIDE_BY_SIDE}),
        "embeddings_alone.npz": bool(flips & {ALONE, SIDE_BY_SIDE}),
    }
    written = [Path(args.output) / name for name, is_wanted in wanted.items() if is_wanted]
    for path in written:
        mirrored = path.name == "embeddings.npz"
        task = EmbeddingTask(images, rules, mirrored, "float32", args.batch_size, args.num_workers, None)
        embed_once(path, model, task, device)
    return written


def main() -> None:
    """Parse the command line, embed, evaluate and write the report."""
    args = parse_arguments()
    modes = parse_modes(args.modes)
    files = find_meta(args.data_dir, args.target)
    data = read_template_set(files, args.protocol)
    make_directory(Path(args.output), "--output")
    features = read_features(args.embeddings or embed(args, files, modes), data.images.names)
    features.require_for(modes)
    sum_up = open_template_sums()
    results = [evaluate_mode(data, features.of(mode), mode, sum_up) for mode in modes]
    write_report(args.output, data, results, features.about)
    if args.protocol != IDENTIFICATION:
        print(format_verification(data, results))
    for result in results:
        if result.identification:
            print(f"{result.mode}-{files.target}, 1:N\n{format_identification(result.identification)}")
    print(f"{args.output}: report.json and the pictures")


if __name__ == "__main__":
    run_command(main)
