"""Compare the classification head with PyTorch and with bare arithmetic: ``python benchmarks/bench_head.py``.

Measures time and memory of a step: sampling, loss, gradients and update, with the embeddings as parameters instead of
a backbone. The limit is numpy's matrix products of the same shapes and copies of the same bytes. See
docs/benchmarks.md.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import os
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.arguments import Parser, name_list, positive_float, positive_int
from benchmarks.heads import CONTESTANTS, HEADER, OURS, ROW_BYTES, communicated_bytes, fit_memory, make_rows, row_cells
from benchmarks.other_load import OtherLoad, describe_load
from benchmarks.report import describe_machine, format_machine, format_table, write_json
from benchmarks.rounds import available_bytes, run_rounds
from common.errors import UserError, run_command


def whole_numbers(text: str) -> list[int]:
    """Parse a comma-separated list of whole numbers above 0, such as ``1,10k,5M``.

    Raises:
        ValueError: an entry is not one; argparse turns this into its message.
    """
    units = {"k": 1000, "M": 1_000_000}
    numbers = [int(word[:-1]) * units[word[-1]] if word[-1:] in units else int(word) for word in text.split(",")]
    if min(numbers) < 1:
        raise ValueError
    return numbers


def ratios(text: str) -> list[float]:
    """Parse a comma-separated list of shares in (0, 1].

    Raises:
        ValueError: an entry is not one; argparse turns this into its message.
    """
    numbers = [float(word) for word in text.split(",")]
    if not all(0 < number <= 1 for number in numbers):
        raise ValueError
    return numbers


def row_types(text: str) -> list[str]:
    """Parse a comma-separated list of types of rows.

    Raises:
        ValueError: an entry is not one; argparse turns this into its message.
    """
    types = text.split(",")
    if not set(types) <= ROW_BYTES.keys():
        raise ValueError
    return types


def parse_arguments() -> argparse.Namespace:
    """Return the flags.

    Raises:
        UserError: a flag or value is unknown.
    """
    names = [contestant.name for contestant in CONTESTANTS]
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--classes", type=whole_numbers, default=[10_000, 100_000, 1_000_000, 5_000_000], help="10k,1M,..."
    )
    parser.add_argument("--ratios", type=ratios, default=[1.0, 0.1], help="1: all classes; below: Partial FC")
    parser.add_argument("--ranks", type=whole_numbers, default=[1, 2], help="numbers of ranks, which share the threads")
    parser.add_argument(
        "--fixed_sample",
        type=whole_numbers,
        default=[],
        help="rows per step for any number of classes; measures only our head",
    )
    parser.add_argument("--row_dtype", type=row_types, default=["float32"], help="of our rows: float32,bf16")
    parser.add_argument("--emb_size", type=positive_int, default=512)
    parser.add_argument("--batch", type=positive_int, default=64, help="embeddings per step over all ranks")
    parser.add_argument("--rounds", type=positive_int, default=3, help="turns per contestant")
    parser.add_argument("--seconds", type=positive_float, default=3.0, help="length of a turn (at least one step)")
    parser.add_argument("--threads", type=positive_int, default=len(os.sched_getaffinity(0)), help="over all ranks")
    parser.add_argument("--contestants", type=name_list, default=names, help=f"some of {','.join(names)}; empty: none")
    parser.add_argument("--json", default="", help="file for all numbers")
    args = parser.parse_args()
    for name in args.contestants:
        if name not in names:
            raise UserError(f"--contestants: unknown name '{name}'; known: {', '.join(names)}")
    for ranks in args.ranks:
        if args.batch % ranks:
            raise UserError(f"--batch {args.batch} is not a multiple of {ranks} ranks")
    return args


def make_job(classes: int, ratio: float, ranks: int, row_dtype: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return the job of the workers."""
    return {
        "pass": "train",
        "num_classes": classes,
        "sample_ratio": ratio,
        "row_dtype": row_dtype,
        "ranks": ranks,
        "size": args.batch,
        "emb_size": args.emb_size,
        "threads": max(1, args.threads // ranks),
        "storage": "memory",
    }


def bench(classes: int, ratio: float, ranks: int, row_dtype: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one table, print it, and return its contents; bf16 rows have only our head."""
    job = make_job(classes, ratio, ranks, row_dtype, args)
    chosen = [c for c in CONTESTANTS if c.name in args.contestants and (row_dtype == "float32" or c.name == OURS)]
    contestants, remarks = fit_memory(chosen, job, available_bytes())
    load = OtherLoad()
    measured = run_rounds(contestants, job, args.rounds, args.seconds)
    other = load.share()
    rows = make_rows(measured)
    received = communicated_bytes(ranks, args.batch, args.emb_size)
    form = "all classes" if ratio == 1 else f"Partial FC {ratio:g}"
    print(
        f"\n{classes} classes, {form}, {row_dtype} rows, {ranks} rank(s) of {job['threads']} thread(s), "
        f"batch {args.batch}, {received / 1e3:.0f} kB received per step"
    )
    for remark in remarks:
        print(remark)
    if rows:
        print(format_table(HEADER, [row_cells(row) for row in rows]))
    absent = [{"name": m.contestant.name, "reason": m.failure} for m in measured if m.failure]
    for absence in absent:
        print(f"not measured: {absence['name']}: {absence['reason']}")
    if ranks == 1:  # with several ranks, the others are re-parented when they end and would count as other load
        print(describe_load(other), flush=True)
    return {**job, "received_bytes": received, "rows": [asdict(row) for row in rows], "absent": absent}


def bench_fixed(sample: int, ranks: int, row_dtype: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure our step with ``sample`` rows for each number of classes of at least ``sample``; print and return it."""
    cells, steps = [], []
    for classes in sorted(c for c in args.classes if c >= sample):
        job = make_job(classes, sample / classes, ranks, row_dtype, args)
        ours, _ = fit_memory(CONTESTANTS[:1], job, available_bytes())
        measured = run_rounds(ours, job, args.rounds, args.seconds)[0]
        if measured.failure:
            cells.append([str(classes), measured.failure, "-", "-", "-"])
            continue
        seconds, peak = float(np.median(measured.times)), measured.peak_bytes
        steps.append({"num_classes": classes, "storage": job["storage"], "seconds": seconds, "peak_bytes": peak})
        growth = seconds / steps[0]["seconds"]
        cells.append([str(classes), job["storage"], f"{seconds * 1e3:.0f}", f"{growth:.2f}", f"{peak / 1e9:.2f}"])
    print(f"\nabout {sample} {row_dtype} rows per step, {ranks} rank(s), {args.threads} thread(s), batch {args.batch}")
    print(format_table(("classes", "rows are in", "ms/step", "to first", "peak GB"), cells), flush=True)
    return {"fixed_sample": sample, "ranks": ranks, "row_dtype": row_dtype, "steps": steps}


def main() -> None:
    """Measure and print all tables."""
    args = parse_arguments()
    print(format_machine(describe_machine()), flush=True)
    forms = [(ratio, ranks) for ranks in args.ranks for ratio in args.ratios] if args.contestants else []
    tables = [bench(c, *form, row_dtype, args) for form in forms for c in args.classes for row_dtype in args.row_dtype]
    sizes = [(sample, ranks) for ranks in args.ranks for sample in args.fixed_sample]
    fixed = [bench_fixed(*size, row_dtype, args) for size in sizes for row_dtype in args.row_dtype]
    if args.json:
        write_json(args.json, {"settings": vars(args), "tables": tables, "fixed": fixed})


if __name__ == "__main__":
    run_command(main)
