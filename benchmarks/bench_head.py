"""Time and memory of the classification head against PyTorch and the arithmetic: ``python benchmarks/bench_head.py``.

A step: labels to samples, loss, gradients, update, with the embeddings as parameters in place of a backbone. The limit
is numpy's matrix products of the same shapes and copies of the same bytes. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.arguments import Parser, name_list, positive_float, positive_int
from benchmarks.contestants import PEERS_PYTHON, Contestant
from benchmarks.other_load import OtherLoad, describe_load
from benchmarks.report import describe_machine, format_machine, format_table, write_json
from benchmarks.rounds import Measured, run_rounds
from common.errors import UserError, run_command

OURS, LIMIT = "ours", "limit"
CONTESTANTS = (
    Contestant(OURS, "ours_head_worker", "float32"),
    Contestant("torch", "torch_head_worker", "float32", PEERS_PYTHON),
    Contestant(LIMIT, "limit_head_worker", "float32"),
)
HEADER = ("", "ms/step", "middle half", "ours / it", "to limit", "peak GB", "loss")


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: how the command line chooses the contestant.
        label: framework and version.
        seconds: median of all steps.
        quartiles: between them lies the middle half of the steps.
        ratio: our speed over this one; None without ours.
        to_limit: its time over that of the bare arithmetic; None if that was not measured.
        peak_bytes: the largest memory of rank 0.
        loss: of the first step; None for the bare arithmetic.
    """

    name: str
    label: str
    seconds: float
    quartiles: tuple[float, float]
    ratio: float | None
    to_limit: float | None
    peak_bytes: int
    loss: float | None


def whole_numbers(text: str) -> list[int]:
    """Read a comma-separated list of whole numbers above 0; 10k and 5M are such numbers."""
    units = {"k": 1000, "M": 1_000_000}
    numbers = [int(word[:-1]) * units[word[-1]] if word[-1:] in units else int(word) for word in text.split(",")]
    if min(numbers) < 1:
        raise ValueError
    return numbers


def ratios(text: str) -> list[float]:
    """Read a comma-separated list of shares in (0, 1]."""
    numbers = [float(word) for word in text.split(",")]
    if not all(0 < number <= 1 for number in numbers):
        raise ValueError
    return numbers


def parse_arguments() -> argparse.Namespace:
    """Return the flags.

    Raises:
        UserError: a flag or value is unknown.
    """
    names = [contestant.name for contestant in CONTESTANTS]
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=whole_numbers, default=[10_000, 100_000, 1_000_000], help="10k,1M,...")
    parser.add_argument("--ratios", type=ratios, default=[1.0, 0.1], help="1: all classes; below: Partial FC")
    parser.add_argument("--ranks", type=whole_numbers, default=[1, 2], help="which share the threads")
    parser.add_argument("--emb_size", type=positive_int, default=512)
    parser.add_argument("--batch", type=positive_int, default=64, help="embeddings in a step, over all ranks")
    parser.add_argument("--rounds", type=positive_int, default=3, help="turns of every contestant")
    parser.add_argument("--seconds", type=positive_float, default=3.0, help="length of a turn; at least one step")
    parser.add_argument("--threads", type=positive_int, default=len(os.sched_getaffinity(0)), help="over all ranks")
    parser.add_argument("--contestants", type=name_list, default=names, help=f"some of {','.join(names)}")
    parser.add_argument("--json", default="", help="file for all numbers")
    args = parser.parse_args()
    for name in args.contestants:
        if name not in names:
            raise UserError(f"--contestants: unknown name '{name}'; known: {', '.join(names)}")
    for ranks in args.ranks:
        if args.batch % ranks:
            raise UserError(f"--batch {args.batch} is no multiple of {ranks} ranks")
    return args


def communicated_bytes(ranks: int, batch: int, emb_size: int) -> int:
    """Return what a rank receives in a step: embeddings, their gradient, labels and slots, softmax, all of batch size.

    Rows and their gradients are not among it, so it does not depend on the number of classes.
    """
    others = batch * (ranks - 1) // ranks
    embeddings_and_gradient = 2 * others * emb_size * 4
    labels_and_slots = others * 4 + (ranks - 1) * batch * 4
    largest_target_best_and_sum = 4 * (ranks - 1) * batch * 4
    return embeddings_and_gradient + labels_and_slots + largest_target_best_and_sum


def make_rows(measured: Sequence[Measured]) -> list[Row]:
    """Return a row for everybody who took part."""
    seconds = {m.contestant.name: float(np.median(m.times)) for m in measured if not m.failure}
    rows = []
    for entry in measured:
        name = entry.contestant.name
        if entry.failure:
            continue
        own, limit = seconds.get(OURS), seconds.get(LIMIT)
        rows.append(
            Row(
                name, entry.label, seconds[name], tuple(np.percentile(entry.times, [25, 75])),
                seconds[name] / own if own and name != OURS else None,
                seconds[name] / limit if limit and name != LIMIT else None,
                entry.peak_bytes, entry.results[0] if entry.results else None,
            )
        )  # fmt: skip
    return rows


def row_cells(row: Row) -> list[str]:
    """Return a row as text, in the order of ``HEADER``."""
    low, high = row.quartiles
    return [
        row.label, f"{row.seconds * 1e3:.0f}", f"{low * 1e3:.0f}-{high * 1e3:.0f}",
        "-" if row.ratio is None else f"{row.ratio:.2f}", "-" if row.to_limit is None else f"{row.to_limit:.2f}",
        f"{row.peak_bytes / 1e9:.2f}", "-" if row.loss is None else f"{row.loss:.3f}",
    ]  # fmt: skip


def bench(classes: int, ratio: float, ranks: int, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one table, print it, and return its content."""
    job = {
        "pass": "train", "num_classes": classes, "sample_ratio": ratio, "ranks": ranks, "size": args.batch,
        "emb_size": args.emb_size, "threads": max(1, args.threads // ranks),
    }  # fmt: skip
    contestants = [contestant for contestant in CONTESTANTS if contestant.name in args.contestants]
    load = OtherLoad()
    measured = run_rounds(contestants, job, args.rounds, args.seconds)
    other = load.share()
    rows = make_rows(measured)
    received = communicated_bytes(ranks, args.batch, args.emb_size)
    form = "all classes" if ratio == 1 else f"Partial FC {ratio:g}"
    print(
        f"\n{classes} classes, {form}, {ranks} rank(s) of {job['threads']} thread(s), batch {args.batch}, "
        f"{received / 1e3:.0f} kB received a step"
    )
    print(format_table(HEADER, [row_cells(row) for row in rows]))
    absent = [{"name": m.contestant.name, "reason": m.failure} for m in measured if m.failure]
    for absence in absent:
        print(f"not measured: {absence['name']}: {absence['reason']}")
    if ranks == 1:  # of several, the others are nobody's children when they end, and count as strangers
        print(describe_load(other), flush=True)
    return {**job, "received_bytes": received, "rows": [asdict(row) for row in rows], "absent": absent}


def main() -> None:
    """Measure everything that was asked for."""
    args = parse_arguments()
    print(format_machine(describe_machine()), flush=True)
    tables = [bench(c, ratio, ranks, args) for ranks in args.ranks for c in args.classes for ratio in args.ratios]
    if args.json:
        write_json(args.json, {"settings": vars(args), "tables": tables})


if __name__ == "__main__":
    run_command(main)
