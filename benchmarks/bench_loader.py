"""Compare the data loader with the bare decoder and two other readers: ``python benchmarks/bench_loader.py``.

Our loader, OneFlow's reader and MXNet's read the same 112x112 JPEGs, shuffled and mirrored, each in a separate process
that may use as many cores as the table says. They take turns, and every ratio is between turns of one round, in images
per second of processor time. The decoder is that of our loader, simplejpeg, called in a loop on JPEGs in memory: the
speed of a loader without any overhead.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.arguments import Parser, name_list, positive_float, positive_int
from benchmarks.loaders import HEADER, PEERS, clock_times, cpu_times, list_contestants, make_rows, row_cells
from benchmarks.report import format_table, run_bench
from benchmarks.rounds import run_rounds
from benchmarks.sample_images import CLASSES, write_samples
from common.errors import UserError, run_command


def worker_counts(text: str) -> list[int]:
    """Parse the numbers of workers in ``0,1,2``.

    Raises:
        ValueError: an entry is not a whole number of at least 0; argparse turns this into its message.
    """
    counts = [int(number) for number in text.split(",")]
    if min(counts) < 0:
        raise ValueError
    return sorted(set(counts))


worker_counts.__name__ = "list of whole numbers"  # argparse shows it in its message


def parse_arguments() -> argparse.Namespace:
    """Return the flags.

    Raises:
        UserError: a flag or value is unknown.
    """
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=positive_int, default=4096, help="images in the sample set")
    parser.add_argument("--batch", type=positive_int, default=64, help="images per batch")
    parser.add_argument(
        "--workers", type=worker_counts, default=[0, 1, 2], help="workers of our loader; 0 decodes in its process"
    )
    parser.add_argument("--peers", type=name_list, default=list(PEERS), help=f"some of {','.join(PEERS)}")
    parser.add_argument("--rounds", type=positive_int, default=15, help="turns per contestant")
    parser.add_argument("--seconds", type=positive_float, default=0.5, help="length of a turn")
    parser.add_argument("--json", default="", help="file for all numbers")
    args = parser.parse_args()
    for name in args.peers:
        if name not in PEERS:
            raise UserError(f"--peers: unknown name '{name}'; known: {', '.join(PEERS)}")
    if args.images < args.batch:
        raise UserError(f"--images {args.images} is less than one --batch of {args.batch}")
    return args


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table, and return its contents."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        files = write_samples(Path(folder), args.images)
        job = {**asdict(files), "size": args.batch, "num_classes": CLASSES, "pass": "forward"}
        measured = run_rounds(list_contestants(args.workers, args.peers), job, args.rounds, args.seconds)
    rows = make_rows(measured, args.batch)
    print(
        f"{files.num_images} JPEGs of 112x112 and {files.mean_bytes / 1000:.1f} kB, batch {args.batch}, "
        f"{args.rounds} rounds of {args.seconds:g} s"
    )
    print(format_table(HEADER, [row_cells(row) for row in rows]))
    for row in rows:
        if row.failure:
            print(f"not measured: {row.label}: {row.failure}")
    times = [
        {"label": m.label, "cores": m.contestant.cores, "seconds": clock_times(m), "cpu_seconds": cpu_times(m)}
        for m in measured
    ]
    return {"rows": [asdict(row) for row in rows], "turns": times, "mean_bytes": files.mean_bytes}


def main() -> None:
    """Measure and print the table."""
    args = parse_arguments()
    run_bench(bench, args)


if __name__ == "__main__":
    run_command(main)
