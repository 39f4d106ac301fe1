"""Verify pairs from files of embeddings that tools/embed.py wrote of verification sets; compare models.

    python tools/embed.py --model_load_dir MODEL --input lfw.bin --output lfw.npz
    python tools/evaluate/pairs.py --embeddings lfw.npz other_model_lfw.npz --output report

Prints InsightFace's lines, tables and thresholds as insightface_val.py does, and writes report.json, roc.png,
histogram.png and scores.csv; of several models each in a folder of its name, and the comparison beside. --bad_cases
needs the .bin files, where they were when they were embedded. --groups compares groups of people too.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(dirname(realpath(__file__)))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.errors import UserError, require, run_command
from data.verification.verification_set import VerificationSet, load_verification_set
from engine.group_report import SETS, GroupMap, check_group_files, write_groups
from engine.verification_report import BAD_CASES, model_folders, write_comparison, write_model_report
from evaluation.comparison.compare import compare_models
from evaluation.comparison.published import PUBLISHED
from evaluation.comparison.tables import format_comparison
from evaluation.embedding_store import EmbeddingStore, read_store
from evaluation.groups.group_table import format_groups
from evaluation.groups.pair_groups import GroupReport
from evaluation.pairs.stored import distinct_rows, group_by_model, verify_store
from evaluation.report import format_table, format_thresholds
from evaluation.verification import VerificationResult, log_lines


def parse_arguments() -> argparse.Namespace:
    """Return the checked command line.

    Raises:
        UserError: a flag is out of range; the message has a line for each.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embeddings", nargs="+", required=True, help="files of tools/embed.py, each of one .bin")
    parser.add_argument("--output", default="", help="folder for the reports")
    parser.add_argument("--nrof_folds", type=int, default=10, help="folds of the verification (default: 10)")
    parser.add_argument("--far_targets", default="0.0001,0.001,0.01", help="false accept rates (default: %(default)s)")
    parser.add_argument("--bad_cases", type=int, default=0, help="how many of the worst errors of each kind to show")
    parser.add_argument(
        "--groups", default="", help="file of lines 'person-or-image group', or 'sets' if each set is a group"
    )
    parser.add_argument(
        "--group_pairs", default="", help="list of pairs, as LFW's pairs.txt, that names the images for --groups"
    )
    parser.add_argument(
        "--published", type=int, choices=(0, 1), default=0, help="1: put InsightFace's published accuracies beside"
    )
    args = parser.parse_args()
    try:
        args.far_targets = [float(text) for text in args.far_targets.split(",")]
    except ValueError as error:
        raise UserError(f"--far_targets {args.far_targets} must be numbers, such as 0.001,0.01") from error
    mistakes = {
        f"--far_targets {args.far_targets} must be above 0 and below 1": any(not 0 < f < 1 for f in args.far_targets),
        f"--nrof_folds {args.nrof_folds} must be at least 2": args.nrof_folds < 2,
        f"--bad_cases {args.bad_cases} must be at least 0": args.bad_cases < 0,
        f"--bad_cases {args.bad_cases} needs --output DIR": args.bad_cases and not args.output,
        f"--group_pairs {args.group_pairs} needs --groups FILE": args.group_pairs and not args.groups,
    }
    if any(mistakes.values()):
        raise UserError(*(message for message, is_made in mistakes.items() if is_made))
    return args


def load_images(stores: Sequence[EmbeddingStore]) -> list[VerificationSet]:
    """Return the images of the sets.

    Raises:
        UserError: a ``.bin`` is not where it was embedded, or holds other pairs.
    """
    sets = []
    for store in stores:
        path, size = Path(store.about["source"]), store.about["input"]["height"]
        require(path.is_file(), f"{path}, which {store.path} was made of, is not there; omit --bad_cases")
        found = load_verification_set(path, path.stem, size)
        require(
            found.issame.tolist() == store.issame.tolist(),
            f"{path} has other pairs than when {store.path} was made; embed it again",
        )
        sets.append(found)
    return sets


def compare_groups(
    args: argparse.Namespace,
    by_model: Mapping[str, Sequence[EmbeddingStore]],
    results: Mapping[str, Sequence[VerificationResult]],
) -> dict[str, GroupReport]:
    """Return the comparison of groups of each model; empty without ``--groups``.

    Raises:
        UserError: a file cannot be read, images have no group, or there are too few or too many sets.
    """
    if not args.groups:
        return {}
    first = next(iter(results.values()))
    names = ", ".join(result.name for result in first)
    require(args.groups != SETS or len(first) > 1, f"--groups sets compares sets, and --embeddings has {names} alone")
    require(
        not args.group_pairs or len(first) == 1,
        f"--group_pairs {args.group_pairs} names the images of one set, and --embeddings has {names}",
    )
    check_group_files(args.groups, args.group_pairs)
    groups = GroupMap(args.groups, args.group_pairs, {result.name: result.pairs for result in first})
    reports = {}
    for model, found in results.items():
        stores = by_model[model]
        rows = {result.name: distinct_rows(store) for result, store in zip(found, stores, strict=True)}
        labels = [store.issame for store in stores]
        reports[model] = groups.compare(found, labels, rows if groups.are_sets else {}, args.far_targets)
    return reports


def main() -> None:
    """Parse the command line, verify, print and write."""
    args = parse_arguments()
    by_model = group_by_model([read_store(path) for path in args.embeddings])
    results: dict[str, list[VerificationResult]] = {
        model: [verify_store(store, args.nrof_folds, args.far_targets) for store in stores]
        for model, stores in by_model.items()
    }
    groups = compare_groups(args, by_model, results)
    first = next(iter(by_model.values()))
    sets = load_images(first) if args.bad_cases else []
    labels = [store.issame for store in first]
    folders = model_folders(list(results))
    for model, found in results.items():
        if len(results) > 1:
            print(f"model {model}")
        about = by_model[model][0].about
        for result in found:
            print(*log_lines(result, about["step"]), sep="\n")
        print(format_table(found))
        print(format_thresholds(found))
        if model in groups:
            print(format_groups(groups[model]))
        if args.output:
            folder = Path(args.output) / (folders[model] if len(results) > 1 else "")
            described = {**about, "checksum": about["model_sha256"]}
            write_model_report(folder, found, {}, described, sets, labels, args.bad_cases)
            if model in groups:
                write_groups(folder, groups[model])
    if len(results) > 1 or args.published:
        _compare(args, results, labels, folders, groups)
    if args.output:
        print(f"report: {args.output}")


def _compare(
    args: argparse.Namespace,
    results: Mapping[str, list[VerificationResult]],
    labels: Sequence,
    folders: Mapping[str, str],
    groups: Mapping[str, GroupReport],
) -> None:
    comparison = compare_models(results, labels, args.far_targets, PUBLISHED if args.published else {})
    print(format_comparison(comparison))
    if args.output:
        root = Path(args.output)
        places = {model: root / (folders[model] if len(results) > 1 else "") for model in results}
        sheets = {model: place / BAD_CASES for model, place in places.items()} if args.bad_cases else {}
        texts = [(f"{model}: groups", format_groups(report)) for model, report in groups.items()]
        write_comparison(root, comparison, results, sheets, texts)


if __name__ == "__main__":
    run_command(main)
