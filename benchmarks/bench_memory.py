"""Compare the memory of a training of the backbones: ``python benchmarks/bench_memory.py --networks r50``.

Every contestant gets the same network, initial weights, batch and update (SGD with momentum), in a fresh process, and
must compute the same losses. ``peak`` is the largest resident memory of the process (VmHWM) from its start, libraries
included. ``--fits 8`` also looks for the largest batch that fits 8 GB. See docs/benchmarks.md.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.arguments import Parser, name_list, positive_float, positive_int
from benchmarks.contestants import OURS, PEERS, RECOMPUTING, Contestant, choose, make_job, names
from benchmarks.memory_rows import HEADER, MemoryRow, make_memory_rows, memory_cells
from benchmarks.network import network_config, write_network
from benchmarks.other_load import OtherLoad, describe_load
from benchmarks.report import describe_machine, format_machine, format_table, write_json
from benchmarks.rounds import Measured
from benchmarks.worker import WorkerError
from common.errors import UserError, run_command
from common.progress import progress

_TRIES = 4  # runs per contestant that look for the largest batch


def parse_arguments() -> argparse.Namespace:
    """Return the flags, and as ``contestants`` the contestants to run.

    Raises:
        UserError: a flag or value is unknown.
    """
    training = [contestant for contestant in PEERS if "train" in contestant.passes]
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", type=name_list, default=["y1", "r18", "r50", "r100"], help="networks of sample_config.py"
    )
    parser.add_argument("--batch", type=positive_int, default=16, help="images per step")
    parser.add_argument("--seconds", type=positive_float, default=5.0, help="time to measure the speed for")
    parser.add_argument("--threads", type=positive_int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--fits", type=positive_float, help="GB: also find the largest batch that fits them")
    ours = [*OURS, *RECOMPUTING]
    default = ["f32", "bf16", *names(RECOMPUTING)]
    parser.add_argument("--ours", type=name_list, default=default, help=f"some of {','.join(names(ours))}")
    parser.add_argument("--peers", type=name_list, default=names(training), help=f"some of {','.join(names(training))}")
    parser.add_argument("--json", default="", help="file for all numbers")
    args = parser.parse_args()
    for name in args.networks:
        network_config(name)
    args.contestants = [*choose(ours, args.ours, "--ours"), *choose(training, args.peers, "--peers")]
    return args


def run_fresh(contestant: Contestant, network: str, batch: int, threads: int, seconds: float) -> Measured:
    """Train ``network`` in a fresh process; what a compiler needs is not counted, because a first process compiled."""
    measured = Measured(contestant)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        paths = write_network(network, batch, Path(folder))
        job = make_job(network_config(network), paths, "train", batch, threads)
        for _ in range(2 if contestant.options.get("compiled") else 1):
            worker = None
            try:
                worker = contestant.start(job, Path(folder) / "log")
                measured.label, measured.results = worker.label, worker.results
                measured.times = worker.measure(seconds)
                measured.peak_bytes = worker.peak_bytes
            except WorkerError as error:
                measured.failure = str(error)
                break
            finally:
                if worker is not None:
                    worker.close()
    return measured


def largest_batch(limit: float, batch: int, peak: int, peak_of: Callable[[int], int]) -> tuple[int, int]:
    """Return the largest batch whose measured peak is at most ``limit`` bytes, and that peak; (0, 0) if none was found.

    The peak is taken to grow in a straight line with the batch, through what was measured so far.

    Args:
        limit: bytes.
        batch: a batch that was measured, at least 4.
        peak: its peak, bytes.
        peak_of: measures the peak of a batch; 0 if it cannot run.
    """
    known = {batch: peak}
    half = batch // 2
    known[half] = peak_of(half)
    for _ in range(_TRIES - 1):
        (a, low), (b, high) = sorted(known.items())[0], sorted(known.items())[-1]
        slope = (high - low) / (b - a)
        if slope <= 0:
            break
        candidate = max(2, int(a + (limit - low) / slope))
        if candidate in known:
            break
        known[candidate] = peak_of(candidate)
        if not known[candidate]:
            del known[candidate]
            break
        if known[candidate] <= limit and limit - known[candidate] < slope:
            break
    fitting = {b: p for b, p in known.items() if 0 < p <= limit}
    return max(fitting.items(), default=(0, 0))


def bench(network: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one table, print it, and return its contents."""
    load = OtherLoad()
    measured = [
        run_fresh(contestant, network, args.batch, args.threads, args.seconds)
        for contestant in progress(args.contestants, desc=network, unit="process")
    ]
    rows, absences = make_memory_rows(measured, args.batch)
    if args.fits:
        for number, row in enumerate(rows):
            contestant = next(m.contestant for m in measured if (m.contestant.name, m.contestant.about) == row.key)

            def peak_of(batch: int, contestant: Contestant = contestant) -> int:
                return run_fresh(contestant, network, batch, args.threads, 0.001).peak_bytes

            found = largest_batch(args.fits * 1e9, args.batch, row.peak_bytes, peak_of)
            rows[number] = MemoryRow(**{**asdict(row), "largest_batch": found[0], "largest_peak": found[1]})
    other = load.share()
    print(f"\n{network} train, batch {args.batch}, {args.threads} threads")
    header = HEADER if args.fits else HEADER[:-1]
    print(format_table(header, [memory_cells(row)[: len(header)] for row in rows], text_columns=2))
    for absence in absences:
        print(f"not measured: {absence.name} ({absence.about}): {absence.reason}")
    print(describe_load(other), flush=True)
    return {
        "network": network,
        "other_load": other,
        "rows": [asdict(row) for row in rows],
        "absent": [asdict(absence) for absence in absences],
    }


def main() -> None:
    """Measure and print one table for each network."""
    args = parse_arguments()
    if args.fits and args.batch < 4:
        raise UserError(f"--batch {args.batch}: --fits needs at least 4, to measure half of it as well")
    print(format_machine(describe_machine()))
    tables = [bench(network, args) for network in args.networks]
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key not in ("contestants", "json")}
        write_json(args.json, {"settings": settings, "tables": tables})


if __name__ == "__main__":
    run_command(main)
