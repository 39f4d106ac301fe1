"""Compare ways to train by the accuracy that they reach: ``python benchmarks/bench_quality.py --recipes plain,bench``.

A recipe is a name and flags of insightface_train.py (benchmarks/quality_recipes.json, --recipe_file, --recipe). Each is
trained on each set with each seed, head, type of rows and number of ranks, and verified and identified on people that
no training has seen. Prints means with 95 % intervals and differences to the baseline, paired by seed, and writes them
as JSON and as a picture. A finished training is read, not repeated, and an interrupted one resumes; --list says what
would run. Flags that are not listed here are passed to every training (see insightface_train.py --help). See
docs/benchmarks.md.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import contextlib
import fcntl
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.arguments import Parser, name_list, positive_int
from benchmarks.quality_picture import draw_rows
from benchmarks.quality_recipes import BUILT_IN, choose_recipes, read_recipes
from benchmarks.quality_report import NOTE, format_rows, make_rows
from benchmarks.quality_runs import Form, Run, check_flags, perform, read_result, settle
from benchmarks.quality_sets import SETS, QualitySet, open_sets
from benchmarks.quality_times import expected_seconds
from benchmarks.report import describe_machine, format_machine, format_table, write_json
from common.errors import UserError, lookup, run_command
from common.files import make_directory
from data.drawn_faces import FaceOptions
from evaluation.report_form import to_json


def parse_arguments(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the flags of the benchmark, and those of the training.

    Raises:
        UserError: a value is not a number.
    """
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--sets", type=name_list, default=["drawn"], help=f"of {', '.join(SETS)} (default: drawn)")
    parser.add_argument("--recipes", type=name_list, default=None, help="names of recipes (default: bench)")
    parser.add_argument("--recipe", action="append", default=[], help="a further one, as 'fast=--lr 0.2'; repeatable")
    parser.add_argument("--recipe_file", default="", help="JSON file of further recipes")
    parser.add_argument("--baseline", default="", help="recipe that others are compared with (default: the first)")
    parser.add_argument("--seeds", type=name_list, default=["1", "2", "3", "4", "5"], help="(default: 1,2,3,4,5)")
    parser.add_argument("--ratios", type=name_list, default=["1"], help="1 is the full head, below 1 Partial FC")
    parser.add_argument("--row_dtype", type=name_list, default=["float32"], help="of the class rows: float32,bf16")
    parser.add_argument("--ranks", type=name_list, default=["1"], help="numbers of ranks (default: 1)")
    parser.add_argument("--steps", type=positive_int, default=0, help="of each training (default: 500; orl 150)")
    parser.add_argument("--people", type=positive_int, default=2000, help="drawn people to train on")
    parser.add_argument("--images", type=positive_int, default=6, help="images of each of them, but in the set tail")
    parser.add_argument("--others", type=positive_int, default=500, help="drawn people to verify and identify")
    parser.add_argument("--pairs", type=positive_int, default=3000, help="their verification pairs")
    parser.add_argument("--size", type=positive_int, default=40, help="height and width of the drawn images")
    parser.add_argument("--output", default="output/quality", help="folder of all sets, trainings and results")
    parser.add_argument("--list", action="store_true", help="print what would run and about how long, and end")
    parser.add_argument("--keep_models", type=int, choices=(0, 1), default=0, help="1: keep the last snapshots")
    parser.add_argument("--json", default="", help="a further file for all numbers")
    return parser.parse_known_args(argv)


def plan_runs(args: argparse.Namespace, rest: Sequence[str]) -> tuple[list[QualitySet], list[Run]]:
    """Return the sets and all trainings, in the order in which they run: all seeds of a kind one after the other.

    Raises:
        UserError: a set, recipe or flag is unknown, or a value is impossible.
    """
    output = Path(args.output).resolve()
    options = FaceOptions(args.people, args.images, args.others, args.pairs, args.size)
    sets = open_sets(args.sets, output / "sets", options, args.steps)
    known = read_recipes(BUILT_IN)
    if args.recipe_file:
        known = read_recipes(Path(args.recipe_file), known)
    names = args.recipes if args.recipes is not None else ([] if args.recipe else ["bench"])
    recipes = choose_recipes(names, args.recipe, known)
    if args.baseline:
        lookup({each.name: each for each in recipes}, args.baseline, "--baseline")
    runs = []
    forms = itertools.product(map(int, args.ranks), args.ratios, args.row_dtype)
    for data, (ranks, ratio, row_dtype), recipe, seed in itertools.product(sets, list(forms), recipes, args.seeds):
        if recipe.fits(data.name):
            form = Form(ratio, row_dtype, ranks)
            run = Run(data, recipe, form, seed, tuple(rest), output)
            runs.append(Run(data, recipe, form, seed, tuple(rest), output / "runs" / run.name))
    if not runs:
        raise UserError("no recipe is for these sets; see --recipes and --sets")
    check_flags(runs)
    return sets, runs


def list_runs(runs: Sequence[Run]) -> str:
    """Return a table of the trainings: what is done, what is left, and about how long it takes on 2 cores."""
    rows, total = [], 0.0
    for run in runs:
        state = "finished" if run.is_finished else "resumes" if run.is_started else "to do"
        seconds = 0.0 if run.is_finished else expected_seconds(run, runs)
        total += seconds
        rows.append([run.name, state, f"{run.data.steps}", f"{seconds:.0f}"])
    table = format_table(("training", "state", "steps", "s"), rows, text_columns=2)
    left = sum(not run.is_finished for run in runs)
    return f"{table}\n{left} of {len(runs)} trainings are left, about {total / 60:.0f} minutes; recipes:\n" + "\n".join(
        f"  {recipe.name}: {recipe.about}: {' '.join(recipe.flags)}"
        for recipe in {run.recipe.name: run.recipe for run in runs}.values()
    )


def run_all(runs: Sequence[Run], keep_models: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """Train and verify what is not finished; return the results, and a message for each training that failed."""
    results, failures = [], []
    for number, run in enumerate(runs, 1):
        result = read_result(run)
        if result is None:
            start = time.perf_counter()
            print(f"{number} of {len(runs)}: {run.name}", flush=True)
            try:
                result = perform(run, keep_models)
            except UserError as error:
                print(f"  {error}", flush=True)
                failures.append(str(error))
                continue
            print(
                f"  accuracy {100 * result['accuracy']:.2f} %, rank 1 {100 * result['rank_1']:.2f} %, "
                f"{time.perf_counter() - start:.0f} s",
                flush=True,
            )
        results.append(result)
    return results, failures


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on ``folder``, which is made if it is not there.

    Raises:
        UserError: another process holds it.
    """
    make_directory(folder, "--output")
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"--output {folder}: another bench_quality trains there; wait for it or name another"
            ) from error
        yield


def main() -> int:
    """Prepare the sets, do the trainings that are left, print and write the results."""
    args, rest = parse_arguments(sys.argv[1:])
    sets, runs = plan_runs(args, rest)
    if args.list:
        print(list_runs(runs))
        return 0
    with alone_in(Path(args.output)):
        for data in sets:
            data.prepare()
        for run in runs:
            settle(run)
        results, failures = run_all(runs, bool(args.keep_models))
    print(format_machine(describe_machine()))
    if results:
        rows = make_rows(results, args.baseline or runs[0].recipe.name)
        print(format_rows(rows), NOTE, sep="\n", flush=True)
        output = Path(args.output)
        content = {"settings": vars(args), "training": rest, "rows": to_json(list(map(asdict, rows)))}
        for path in (str(output / "quality.json"), args.json):
            if path:
                write_json(path, {**content, "results": results})
        draw_rows(rows, output / "quality.png")
        print(f"numbers and picture: {output / 'quality.json'}, {output / 'quality.png'}")
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    run_command(main)
