"""Identify people on your own photos: who of a gallery is it, and is it any of them?

    python tools/evaluate/identify.py --gallery staff --probes visitors --model_load_dir MODEL --output results
    python tools/evaluate/identify.py --input photos --gallery_per_person 1 --model_load_dir MODEL --output results

Photos lie in one folder per person. --gallery, --probes and --input take whatever tools/embed.py takes, or a file that
it wrote (then without --model_load_dir). Embeddings are kept in the output folder, so a second call needs no network.

Prints rank 1, 5 and 10 and the open-set rates with their thresholds; writes identification.json, confusions.csv and,
with the clearest mistakes as pictures, confusions.jpg.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError, require, run_command
from common.flag_checks import find_mistakes
from common.workers import add_workers_flag
from data.contact_sheet import Tile, write_sheet
from data.image_lists.images import list_images
from data.image_lists.places import load_face
from data.photos.detectors import open_detector
from data.photos.flags import add_face_flags, find_contradictions
from data.photos.photo import Fault
from data.photos.prepare import PhotoRules
from data.photos.walk import printable
from engine.embedding_flags import add_batch_flags, add_flip_flag
from engine.score_kernel import open_score_kernel
from evaluation.embedding_store import EmbeddingStore, read_store, require_finite
from evaluation.identification.people import check_same_people, people_of, split_set
from evaluation.identification.protocol import FPIR_TARGETS, IdentificationResult, identify
from evaluation.identification.report import result_lines, write_result
from interchange.open_model import FORMATS, TrainedModel, open_model
from launch.devices import choose_device
from settings.input_flags import add_input_flags, input_flags
from snapshots.layout import describe_network

PICTURE_SIZE = 112


def parse_arguments() -> argparse.Namespace:
    """Return the checked command line.

    Raises:
        UserError: a flag is missing or out of range, or two contradict each other.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gallery", default="", help="images of the people to be found, one folder per person")
    parser.add_argument("--probes", default="", help="images to identify, one folder per person")
    parser.add_argument("--input", default="", help="one set in place of both, split by --seed")
    parser.add_argument("--gallery_per_person", type=int, default=1, help="gallery images of --input (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    parser.add_argument("--model_load_dir", default="", help=FORMATS)
    add_input_flags(parser)
    parser.add_argument("--output", required=True, help="folder for results and embeddings")
    parser.add_argument("--fpir", default="", help="false positive rates, as in 0.01,0.1 (the default)")
    parser.add_argument("--confusions", type=int, default=20, help="mistakes shown as pictures (default: 20)")
    add_face_flags(parser)
    add_flip_flag(parser)
    parser.add_argument(
        "--skip_bad", type=int, choices=(0, 1), default=0, help="1: leave out images that cannot be used"
    )
    add_workers_flag(parser, "images prepared at a time")
    add_batch_flags(parser)
    args = parser.parse_args()
    sources = [source for source in (args.gallery, args.probes, args.input) if source]
    mistakes = {
        "give --gallery and --probes, or --input": not (args.input or (args.gallery and args.probes))
        or (args.input and (args.gallery or args.probes)),
        "--model_load_dir is missing; only files of embeddings (.npz) need no model": not args.model_load_dir
        and any(not source.endswith(".npz") for source in sources),
        **dict.fromkeys(find_contradictions(args), True),
        f"--gallery_per_person {args.gallery_per_person} must be at least 1": args.gallery_per_person < 1,
        f"--confusions {args.confusions} must be at least 0": args.confusions < 0,
    }
    messages = [message for message, is_made in mistakes.items() if is_made] + find_mistakes(args, "output")
    if messages:
        raise UserError(*messages)
    args.fpir_targets = read_rates(args.fpir)
    return args


def read_rates(text: str) -> tuple[float, ...]:
    """Return the rates of --fpir.

    Raises:
        UserError: one is not a number above 0 and below 1.
    """
    if not text:
        return FPIR_TARGETS
    try:
        rates = tuple(map(float, text.split(",")))
    except ValueError:
        rates = ()
    require(bool(rates) and all(0 < rate < 1 for rate in rates), f"--fpir {text}: expected numbers above 0 and below 1")
    return rates


def open_stores(sources: dict[str, str], args: argparse.Namespace) -> list[EmbeddingStore]:
    """Return the embeddings of each source, by flag; photos are embedded into ``--output``.

    Raises:
        UserError: a source, the model or images cannot be used, or embeddings are not finite.
    """
    stores: dict[str, EmbeddingStore] = {flag: read_store(p) for flag, p in sources.items() if p.endswith(".npz")}
    lists = {flag: list_images(path) for flag, path in sources.items() if flag not in stores}
    if lists:
        model = open_model(args.model_load_dir, input_flags(args))
        model.print_notes()
        rules = photo_rules(model, args)
        device, _ = choose_device({"device": args.device, "device_num_per_node": 1})
        # Imported here because OneFlow takes seconds, and mistakes are said before.
        from engine.embed_images import EmbeddingTask
        from engine.embed_once import embed_once

        for flag, images in lists.items():
            task = EmbeddingTask(
                images, rules, bool(args.flip), "float32", args.batch_size, args.num_workers, bool(args.skip_bad)
            )
            target = Path(args.output) / f"{flag[2:]}.npz"
            stores[flag] = embed_once(target, model, task, device, images.left_out)
    for store in stores.values():
        require_finite(store.path, store.embeddings, store.names)
    return [stores[flag] for flag in sources]


def photo_rules(model: TrainedModel, args: argparse.Namespace) -> PhotoRules:
    """Return how photos become images of the model's size."""
    size = describe_network(model.network)["input"]["height"]
    return PhotoRules(size, open_detector(args.detector) if args.align else None, bool(args.resize), min_size=0)


def check_one_model(stores: Sequence[EmbeddingStore]) -> None:
    """Check that all embeddings come from one model, with or without mirrored images.

    Raises:
        UserError: they do not.
    """
    for key in ("model_sha256", "mirrored"):
        values = {store.about.get(key) for store in stores}
        paths = " and ".join(str(store.path) for store in stores)
        require(len(values) == 1, f"{paths} differ in {key}; embed both alike")


def load_pictures(store: EmbeddingStore, numbers: Sequence[int]) -> list[np.ndarray | None]:
    """Return pictures of images, uint8 [S, S, 3]; None where the image is no longer where it was."""
    try:
        images = list_images(store.about["source"])
    except UserError:
        return [None] * len(numbers)
    places = {name: number for number, name in enumerate(images.names)}
    rules = PhotoRules(PICTURE_SIZE, resize=True, min_size=0)
    pictures = []
    for number in numbers:
        row = places.get(str(store.names[number]))
        place = None if row is None else images.places[row if images.rows is None else int(images.rows[row])]
        face = None if place is None else load_face(place, rules)
        pictures.append(None if isinstance(face, Fault) else face)
    return pictures


def write_confusions(
    path: Path,
    result: IdentificationResult,
    shown: np.ndarray,
    gallery: tuple[EmbeddingStore, np.ndarray],
    probes: tuple[EmbeddingStore, np.ndarray],
) -> None:
    """Write a sheet with a row of three pictures per mistake: the probe, who it was taken for, the right person.

    Args:
        path: the JPEG.
        result: the result.
        shown: numbers of the probes.
        gallery: the file, and which of its images are the gallery.
        probes: the file, and which of its images are the probes.
    """
    columns = []
    for (store, numbers), wanted, title, scores in (
        (probes, shown, "probe", None),
        (gallery, result.other_image[shown], "taken for", result.other[shown]),
        (gallery, result.own_image[shown], "right", result.own[shown]),
    ):
        pictures = load_pictures(store, numbers[wanted])
        heads = [title] * len(shown) if scores is None else [f"{title} {score:.3f}" for score in scores]
        names = [printable(str(name)) for name in store.names[numbers[wanted]]]
        columns.append(
            [Tile(*tile) for tile in zip(pictures, map("\n".join, zip(heads, names, strict=True)), strict=True)]
        )
    tiles = [tile for row in zip(*columns, strict=True) for tile in row]
    write_sheet(path, [(f"{len(shown)} of {len(result.confusions())} mistakes, the clearest first", tiles)], columns=6)


def main() -> None:
    """Parse the command line, identify, and print and write the results."""
    args = parse_arguments()
    if args.input:
        (store,) = open_stores({"--input": args.input}, args)
        people = people_of(store.names.tolist(), store.labels, store.path)
        gallery_numbers, probe_numbers = split_set(people, args.gallery_per_person, args.seed, f"--input {args.input}")
        gallery, probes = (store, gallery_numbers), (store, probe_numbers)
        owners = people[gallery_numbers], people[probe_numbers]
    else:
        stores = open_stores({"--gallery": args.gallery, "--probes": args.probes}, args)
        check_one_model(stores)
        gallery, probes = ((one, np.arange(len(one))) for one in stores)
        owners = tuple(people_of(one.names.tolist(), one.labels, one.path) for one in stores)
        check_same_people(*owners, f"--gallery {args.gallery}", f"--probes {args.probes}")
    rows = [one.embeddings[numbers] for one, numbers in (gallery, probes)]
    result = identify(open_score_kernel(args.num_workers), rows[0], owners[0], rows[1], owners[1])
    print("\n".join(result_lines(result, args.fpir_targets)))
    names = [[str(name) for name in one.names[numbers]] for one, numbers in (probes, gallery)]
    about = {"gallery": dict(gallery[0].about), "probes": dict(probes[0].about)}
    if args.input:
        about |= {"gallery_per_person": args.gallery_per_person, "seed": args.seed}
    output = Path(args.output)
    write_result(output, result, *names, about, args.fpir_targets)
    shown = result.confusions()[: args.confusions]
    written = ["identification.json", "confusions.csv"]
    if len(shown):
        write_confusions(output / "confusions.jpg", result, shown, gallery, probes)
        written.append("confusions.jpg")
    print(f"{printable(output)}: {', '.join(written)}; {len(result.confusions())} probes are taken for another person")


if __name__ == "__main__":
    run_command(main)
