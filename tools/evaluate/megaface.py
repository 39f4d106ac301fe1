"""Score a model by MegaFace: rank-k identification and TAR at FAR 1e-6 among up to a million distractors.

    python tools/evaluate/megaface.py --facescrub facescrub.npz --megaface megaface.npz --output results

--facescrub and --megaface are files of tools/embed.py, or folders of feature files of the development kit (then
--facescrub_lst, --megaface_lst and --algo say which). The person of a FaceScrub image is the folder it is in.

Writes one cmc_facescrub_megaface_ALGO_SIZE_1.json per size in the development kit's keys, megaface.json, cmc.png and
roc.png. With --write_features the features are written for the development kit instead.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError, require, run_command, shorten
from common.flag_checks import check_flags
from common.workers import add_workers_flag
from data.megaface.features import read_features, write_features
from data.megaface.lists import FACESCRUB_PARTS, MEGAFACE_PARTS, find_noisy, image_names, read_image_list
from data.photos.walk import printable
from engine.score_kernel import open_score_kernel
from evaluation.embedding_store import read_store, require_finite
from evaluation.megaface.noises import extended, replace_noisy_probes
from evaluation.megaface.protocol import score_megaface
from evaluation.megaface.report import result_lines, write_results
from evaluation.search.search import blocks, unit_rows


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facescrub", required=True, help="file of embeddings, or folder with PERSON/FILE_ALGO.bin")
    parser.add_argument("--megaface", required=True, help="file of embeddings, or folder with A/B/FILE_ALGO.bin")
    parser.add_argument("--facescrub_lst", default="", help="list of images (default: all of the file of embeddings)")
    parser.add_argument("--megaface_lst", default="", help="list of distractors, in the order that --size counts")
    parser.add_argument("--facescrub_noises", default="", help="list of noisy images, cleaned as InsightFace does")
    parser.add_argument("--megaface_noises", default="", help="list of distractors that are far from everybody")
    parser.add_argument("--algo", default="insightface", help="word in the names of feature files and results")
    parser.add_argument(
        "--size", default="", help="numbers of distractors: 10,100,1000 (default: powers of 10, and all)"
    )
    parser.add_argument("--output", required=True, help="folder for the results, or for --write_features")
    parser.add_argument(
        "--write_features", type=int, choices=(0, 1), default=0, help="1: write features for the development kit"
    )
    add_workers_flag(parser, "threads that read and search")
    args = parser.parse_args()
    check_flags(args, "facescrub", "megaface", "output")
    return args


@dataclass(frozen=True)
class Features:
    """Images with their features, as they lie on disk."""

    names: list[str]
    rows: np.ndarray
    about: dict[str, Any]


def read_set(place: str, flag: str, list_path: str, parts: int, args: argparse.Namespace) -> Features:
    """Return the images of a file of embeddings or of a folder of feature files.

    Raises:
        UserError: files are missing or damaged, or the list names images that are not there.
    """
    list_flag = f"{flag}_lst"
    if Path(place).is_dir():
        require(bool(list_path), f"{flag} {place} is a folder of feature files; name its images with {list_flag}")
        names = read_image_list(list_path, parts, list_flag)
        rows = read_features(place, names, args.algo, args.num_workers)
        return Features(names, rows, {"features": place, "list": list_path})
    store = read_store(place)
    names = image_names(store.names.tolist(), parts, f"{flag} {place}")
    rows = store.embeddings
    if list_path:
        wanted = read_image_list(list_path, parts, list_flag)
        numbers = {name: number for number, name in enumerate(names)}
        missing = [name for name in wanted if name not in numbers]
        if missing:
            lines = [f"{list_flag} {list_path}: {printable(name)} is not in {place}" for name in missing]
            raise UserError(*shorten(lines, "images that are not in the file", 5))
        order = [numbers[name] for name in wanted]
        names = wanted
        is_prefix = order == list(range(len(order)))
        rows = rows[: len(order)] if is_prefix else rows[order]
    return Features(names, rows, {"features": place, "list": list_path, **store.about})


def read_sizes(text: str, count: int) -> list[int]:
    """Return the numbers of distractors, ascending.

    Raises:
        UserError: they are not numbers from 1 to ``count``.
    """
    if not text:
        return sorted({*(10**power for power in range(1, 7) if 10**power <= count), count})
    words = text.split(",")
    wrong = [word for word in words if not word.strip().isdecimal() or not 1 <= int(word) <= count]
    if wrong:
        raise UserError(
            f"--size {text}: {', '.join(wrong)} is not a number from 1 to {count}, the distractors there are"
        )
    return sorted(set(map(int, words)))


def main() -> None:
    """Parse the command line, score, and print and write the results."""
    args = parse_arguments()
    probes = read_set(args.facescrub, "--facescrub", args.facescrub_lst, FACESCRUB_PARTS, args)
    people = [name.split("/")[0] for name in probes.names]
    noisy_probes = find_noisy(args.facescrub_noises, "--facescrub_noises", probes.names, FACESCRUB_PARTS)
    distractors = read_set(args.megaface, "--megaface", args.megaface_lst, MEGAFACE_PARTS, args)
    noisy = find_noisy(args.megaface_noises, "--megaface_noises", distractors.names, MEGAFACE_PARTS)
    sizes = read_sizes(args.size, len(distractors.names))
    check_one_model(probes.about, distractors.about)
    require_finite(args.facescrub, probes.rows, probes.names)
    rows = replace_noisy_probes(unit_rows(probes.rows, what="FaceScrub image"), people, noisy_probes)
    if args.write_features:
        write_for_devkit(args, probes.names, rows, distractors, noisy)
        return
    kernel = open_score_kernel(args.num_workers)
    what = f"--megaface {printable(args.megaface)}: distractor"
    noise = noisy if noisy.any() else None
    results = score_megaface(kernel, rows, people, distractors.rows, sizes, noise, what)
    about = {"facescrub": probes.about, "megaface": distractors.about, "algo": args.algo}
    about |= {"noisy_facescrub": int(noisy_probes.sum()), "noisy_megaface": int(noisy.sum())}
    for result in results:
        print("\n".join(result_lines(result)))
    written = write_results(args.output, args.algo, results, about)
    print(f"{printable(args.output)}: {', '.join(path.name for path in written)}")


def check_one_model(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Check that both files of embeddings come from one model and one way to prepare images.

    Raises:
        UserError: they do not.
    """
    keys = ("model_sha256", "mirrored")
    different = [key for key in keys if key in first and key in second and first[key] != second[key]]
    require(
        not different,
        f"{first['features']} and {second['features']} differ in {', '.join(different)}; embed both alike",
    )


def write_for_devkit(
    args: argparse.Namespace, names: list[str], rows: np.ndarray, distractors: Features, noisy: np.ndarray
) -> None:
    """Write normalised features below ``--output``; with noises, the number too that moves distractors away."""
    longer = bool(args.facescrub_noises or args.megaface_noises)
    probes = (extended(row, False) for row in rows) if longer else rows
    write_features(Path(args.output) / "facescrub", names, args.algo, probes)
    units = (row for _, block in blocks(distractors.rows) for row in block)
    moved = (extended(row, bad) for row, bad in zip(units, noisy, strict=True)) if longer else units
    write_features(Path(args.output) / "megaface", distractors.names, args.algo, moved)
    print(f"{printable(args.output)}: features of {len(names)} + {len(distractors.names)} images, _{args.algo}.bin")


if __name__ == "__main__":
    run_command(main)
