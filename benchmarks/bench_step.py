"""Time the parts of a training step: ``python benchmarks/bench_step.py --network r50 --num_classes 85742``.

Data, backbone, head and update are those of insightface_train.py, on synthetic images. Flags that are not listed here
are passed to the training (see insightface_train.py --help), such as ``--model_parallel 0`` or ``--dataset_dir``. See
docs/benchmarks.md.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.arguments import Parser, positive_int
from benchmarks.other_load import OtherLoad, describe_load
from benchmarks.report import describe_machine, format_machine, format_table, write_json
from common.errors import run_command
from launch.devices import is_rank
from launch.rank import run_as_rank
from launch.supervisor import launch
from settings.config import Config
from settings.train_command import resolve_train_config

PARTS = ("step", "backbone")


def parse_arguments(argv: list[str]) -> tuple[argparse.Namespace, Config]:
    """Return the benchmark's flags and the training's settings.

    Raises:
        UserError: a flag or value is unknown to both.
    """
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--network", default="r50", help="network of sample_config.py")
    parser.add_argument("--num_classes", type=positive_int, default=85742)
    parser.add_argument("--batch", type=positive_int, default=16, help="images per step over all ranks")
    parser.add_argument("--ranks", type=positive_int, default=1)
    parser.add_argument("--steps", type=positive_int, default=10, help="measured steps, after two warm-up steps")
    parser.add_argument("--json", default="", help="file for all numbers")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)  # for the ranks
    parser.add_argument("--result", help=argparse.SUPPRESS)
    args, rest = parser.parse_known_args(argv)
    flags = {
        "network": args.network,
        "num_classes": args.num_classes,
        "train_batch_size": args.batch,
        "device_num_per_node": args.ranks,
        "use_synthetic_data": 1,
        "device": "cpu",
    }
    given = [item for key, value in flags.items() for item in (f"--{key}", str(value))]
    return args, resolve_train_config([*given, *rest])


def run_part(part: str, args: argparse.Namespace, config: Config, argv: list[str], folder: Path) -> dict[str, Any]:
    """Measure ``part`` on all ranks and return the results of rank 0.

    If a rank fails, exit: the failure has been printed already.
    """
    result = folder / f"{part}.json"
    code = launch(config, args.ranks, folder, [*argv, "--part", part, "--result", str(result)])
    if code:
        sys.exit(code)
    return json.loads(result.read_text())


def make_rows(seconds: dict[str, float], batch: int) -> list[list[str]]:
    """Return the rows of the table from median seconds; the head's time is the graph call's minus the backbone's."""
    head = seconds["graph call"] - seconds["backbone"]
    lines = {
        "next batch": seconds["next batch"],
        "graph call": seconds["graph call"],
        "  backbone, forward and backward": seconds["backbone"],
        "  head and loss": head,
        "update": seconds["update"],
        "whole step": seconds["whole step"],
    }
    rows = [[name, f"{1000 * value:.1f}", f"{value / seconds['whole step']:.1%}"] for name, value in lines.items()]
    rows[-1].append(f"{batch / seconds['whole step']:.2f}")
    return [[*row, ""][:4] for row in rows]


def main() -> None:
    """Measure with and without the head, print the table."""
    argv = sys.argv[1:]
    args, config = parse_arguments(argv)
    if is_rank():
        from benchmarks.step_parts import measure_part

        run_as_rank(partial(measure_part, args.part, args.steps, Path(args.result)), config)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        load = OtherLoad()
        measured = {part: run_part(part, args, config, argv, Path(folder)) for part in PARTS}
        other = load.share()
    times = {name: values for part in PARTS for name, values in measured[part]["times"].items()}
    print(format_machine(describe_machine()))
    print(
        f"{args.network} ({measured['step']['executor']}), {args.num_classes} classes, {config.loss_name}, "
        f"batch {args.batch} on {args.ranks} rank(s), {args.steps} steps, "
        f"{measured['step']['peak_bytes'] / 2**30:.1f} GiB"
    )
    rows = make_rows({name: median(values) for name, values in times.items()}, args.batch)
    print(format_table(("", "ms", "of the step", "images/s"), rows))
    print(describe_load(other), flush=True)
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key not in ("part", "result", "json")}
        write_json(args.json, {"settings": settings, "config": dict(config), "measured": measured, "other_load": other})


if __name__ == "__main__":
    run_command(main)
