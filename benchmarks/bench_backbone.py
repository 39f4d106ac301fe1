"""Compare the backbones with PyTorch, MXNet, onnxruntime and OpenVINO: ``python benchmarks/bench_backbone.py``.

Every contestant gets the same network, initial weights, images and threads, and must compute the same results. The
contestants take turns, and every ratio is between numbers of this run. ``forward`` is inference; ``train`` is forward,
backward and update, with the squared distance from fixed targets as the loss. See docs/benchmarks.md.
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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.arguments import Parser, name_list, positive_float, positive_int
from benchmarks.contestants import LIMITS, OURS, PASSES, PEERS, PEERS_PYTHON, choose, make_job, names
from benchmarks.network import network_config, write_network
from benchmarks.other_load import OtherLoad, describe_load
from benchmarks.report import describe_machine, format_machine, format_table, write_json
from benchmarks.rounds import run_rounds
from benchmarks.rows import HEADER, describe_best, make_rows, row_cells
from common.errors import UserError, run_command


def parse_arguments() -> argparse.Namespace:
    """Return the flags, and as ``contestants`` the contestants to run.

    Raises:
        UserError: a flag or value is unknown.
    """
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", type=name_list, default=["y1", "r18", "r50", "r100"], help="networks of sample_config.py"
    )
    parser.add_argument("--passes", type=name_list, default=list(PASSES), help="forward, train")
    parser.add_argument("--batch", type=positive_int, default=16, help="images per step")
    parser.add_argument("--rounds", type=positive_int, default=5, help="turns per contestant")
    parser.add_argument("--seconds", type=positive_float, default=5.0, help="length of a turn (at least one step)")
    parser.add_argument("--threads", type=positive_int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--ours", type=name_list, default=names(OURS), help=f"some of {','.join(names(OURS))}")
    parser.add_argument("--peers", type=name_list, default=names(PEERS), help=f"some of {','.join(names(PEERS))}")
    parser.add_argument("--limit", type=int, choices=(0, 1), default=1, help="1: also measure the convolutions alone")
    parser.add_argument("--json", default="", help="file for all numbers")
    args = parser.parse_args()
    for name in args.passes:
        if name not in PASSES:
            raise UserError(f"--passes: unknown name '{name}'; known: {', '.join(PASSES)}")
    for name in args.networks:
        network_config(name)
    args.contestants = [*choose(OURS, args.ours, "--ours"), *choose(PEERS, args.peers, "--peers")]
    args.contestants += LIMITS if args.limit else ()
    return args


def bench(network: str, kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one table, print it, and return its contents."""
    contestants = [contestant for contestant in args.contestants if kind in contestant.passes]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        paths = write_network(network, args.batch, Path(folder))
        job = make_job(network_config(network), paths, kind, args.batch, args.threads)
        load = OtherLoad()
        measured = run_rounds(contestants, job, args.rounds, args.seconds)
        other = load.share()
    rows, absences = make_rows(measured, args.batch)
    print(f"\n{network} {kind}, batch {args.batch}, {args.threads} threads, {args.rounds} rounds")
    print(format_table(HEADER, [row_cells(row) for row in rows], text_columns=2))
    for line in describe_best(rows, "torch"):
        print(line)
    for absence in absences:
        print(f"not measured: {absence.name} ({absence.about}): {absence.reason}")
    print(describe_load(other), flush=True)
    times = [{"name": m.contestant.name, "about": m.contestant.about, "seconds": m.times} for m in measured]
    return {
        "network": network,
        "pass": kind,
        "other_load": other,
        "rows": [asdict(row) for row in rows],
        "absent": [asdict(absence) for absence in absences],
        "steps": times,
    }


def main() -> None:
    """Measure and print one table for each network and pass."""
    args = parse_arguments()
    print(format_machine(describe_machine()))
    if not PEERS_PYTHON.is_file() and any(c.python == PEERS_PYTHON for c in args.contestants):
        print(
            "PyTorch and OpenVINO are not installed: `bash benchmarks/setup_peers.sh` (or `make bench`) installs them"
        )
    tables = [bench(network, kind, args) for network in args.networks for kind in args.passes]
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key not in ("contestants", "json")}
        write_json(args.json, {"settings": settings, "tables": tables})


if __name__ == "__main__":
    run_command(main)
