"""Time the start of the commands: ``python benchmarks/bench_start.py --networks y1,r100 --against ../other-checkout``.

Seconds from the command to its first training step, and to the end of a small verification and of an ONNX file, and
the processor seconds of the whole command with its child processes. Each command runs in a fresh process. With
``--against`` another checkout runs the same commands in turn. See docs/benchmarks.md.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from backbones import build_network
from backbones.graph.initializer import initial_arrays
from benchmarks.arguments import Parser, name_list, positive_int
from benchmarks.other_load import OtherLoad, describe_load
from benchmarks.report import format_table, run_bench
from common.errors import UserError, lookup, require, run_command
from common.progress import progress
from data.drawn_faces import draw_face
from data.image import encode_jpeg
from data.verification.bin_file import write_bin
from interchange.converted_snapshot import ConvertedModel, write_converted
from settings.config_file import merge
from settings.tables import sample_tables

ROOT = Path(__file__).resolve().parents[1]

TASKS = ("step", "verification", "onnx")
FIRST_STEP = b"\tstep=1\t"  # in the log line of the first step
PAIRS = 10


@dataclass(frozen=True)
class Task:
    """One command.

    Attributes:
        label: its row in the table.
        arguments: script, relative to the checkout, and flags.
        mark: the output that ends the measured seconds; empty for the end of the command.
    """

    label: str
    arguments: tuple[str, ...]
    mark: bytes = b""


def parse_arguments() -> argparse.Namespace:
    """Return the flags.

    Raises:
        UserError: a flag or value is unknown, or ``--against`` is not a checkout.
    """
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", type=name_list, default=["y1", "r50", "r100"], help="networks of sample_config.py"
    )
    parser.add_argument("--ranks", type=name_list, default=["1", "2"], help="numbers of ranks of the training")
    parser.add_argument("--tasks", type=name_list, default=list(TASKS), help=f"some of {','.join(TASKS)}")
    parser.add_argument("--batch", type=positive_int, default=8, help="images of the training step, over all ranks")
    parser.add_argument("--rounds", type=positive_int, default=3, help="turns of each command")
    parser.add_argument("--against", default="", help="another checkout, which takes turns with this one")
    parser.add_argument("--json", default="", help="file for all numbers")
    args = parser.parse_args()
    for network in args.networks:
        lookup(sample_tables().network, network, "network")
    for name in args.tasks:
        require(name in TASKS, f"--tasks: unknown name '{name}'; known: {', '.join(TASKS)}")
    for ranks in args.ranks:
        require(ranks.isdigit() and int(ranks) > 0, f"--ranks: '{ranks}' is not a positive whole number")
    if args.against:
        script = Path(args.against) / "insightface_train.py"
        require(script.is_file(), f"--against {args.against} is not a checkout: {script} does not exist")
    return args


def make_tasks(args: argparse.Namespace, folder: Path) -> list[Task]:
    """Return the commands in the order of the table; write to ``folder`` what they read."""
    tasks = []
    if "verification" in args.tasks:
        write_pairs(folder / "drawn.bin")
    for network in args.networks:
        if "step" in args.tasks:
            tasks += [_training(network, ranks, args.batch) for ranks in args.ranks]
        if {"verification", "onnx"} & set(args.tasks):
            write_model(network, folder / network)
        model = ("--model_load_dir", str(folder / network))
        if "verification" in args.tasks:
            pairs = ("--val_targets", "drawn", "--val_dataset_dir", str(folder), "--nrof_folds", "2", "--device", "cpu")
            tasks.append(Task(f"{network}, verification of {PAIRS} pairs", ("insightface_val.py", *model, *pairs)))
        if "onnx" in args.tasks:
            tasks.append(Task(f"{network}, ONNX file", ("tools/oneflow2onnx.py", *model, "--onnx_path", "model.onnx")))
    return tasks


def _training(network: str, ranks: str, batch: int) -> Task:
    flags = {
        "network": network,
        "dataset": "orl",  # 40 classes; its images are not read
        "loss": "arcface",
        "use_synthetic_data": 1,
        "total_img_num": 64,
        "num_workers": 0,
        "device": "cpu",
        "device_num_per_node": ranks,
        "train_batch_size": batch,
        "train_iter": 1,
        "loss_print_frequency": 1,
        "save_last_snapshot": 0,
    }
    given = [item for key, value in flags.items() for item in (f"--{key}", str(value))]
    label = f"{network}, first step on {ranks} rank{'s' * (ranks != '1')}"
    return Task(label, ("insightface_train.py", *given), FIRST_STEP)


def write_model(network: str, folder: Path) -> None:
    """Write a snapshot of the untrained ``network``.

    Raises:
        UserError: the network is unknown.
    """
    config = merge(sample_tables(), network, "orl", "arcface")
    graph = build_network(config)
    write_converted(folder, ConvertedModel(config, graph, initial_arrays(graph, 1), {}, []), {})


def write_pairs(path: Path) -> None:
    """Write a verification set of drawn faces, every second pair of one person."""
    people = [person for pair in range(PAIRS) for person in (2 * pair, 2 * pair + pair % 2)]
    images = [encode_jpeg(draw_face(0, person, view, 112)) for view, person in enumerate(people)]
    write_bin(path, images, [pair % 2 == 0 for pair in range(PAIRS)])


def run_task(root: Path, task: Task) -> tuple[float, float, float]:
    """Run a command of the checkout ``root`` in an empty folder; return three numbers of seconds.

    They are those to the mark, those to the end of the command, and the processor's, child processes included.

    Raises:
        UserError: the command fails or does not print the mark; the message ends with its last lines.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, tempfile.TemporaryFile() as errors:
        worked, start, to_mark, output = _children_seconds(), time.perf_counter(), None, b""
        command = [sys.executable, str(root / task.arguments[0]), *task.arguments[1:]]
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=errors) as process:
            for line in process.stdout:
                output += line
                if to_mark is None and task.mark and task.mark in line:
                    to_mark = time.perf_counter() - start
        seconds, worked = time.perf_counter() - start, _children_seconds() - worked
        errors.seek(0)
        last = (output + errors.read()).decode(errors="replace").splitlines()[-5:]
    if process.returncode or (task.mark and to_mark is None):
        raise UserError(f"{task.label}: the command of {root} failed:", *last)
    return seconds if to_mark is None else to_mark, seconds, worked


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make_rows(tasks: Sequence[Task], turns: Mapping[tuple[str, str], Sequence[Sequence[float]]]) -> list[list[str]]:
    """Return the rows of the table from the turns by (label, checkout): medians.

    The ratios are those of this checkout to the other one, between turns of one round: seconds to the mark, processor
    seconds.
    """
    rows = []
    for task in tasks:
        own = turns[task.label, "this"]
        for side in ("this", "other"):
            times = turns.get((task.label, side))
            if times is None:
                continue
            ratios = []
            if side == "this" and (task.label, "other") in turns:
                pairs = list(zip(own, turns[task.label, "other"], strict=True))
                ratios = [f"{median(a[index] / b[index] for a, b in pairs):.2f}" for index in (0, 2)]
            cells = [f"{median(values):.2f}" for values in zip(*times, strict=True)]
            rows.append([task.label, side, *cells, *(ratios or ["", ""])])
    return rows


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table, and return its contents."""
    roots = {"this": ROOT, **({"other": Path(args.against).resolve()} if args.against else {})}
    turns: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    load = OtherLoad()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        tasks = make_tasks(args, Path(folder))
        order = [(number, task) for number in range(args.rounds) for task in tasks]
        for number, task in progress(order, desc="commands", unit="turn"):
            for side in list(roots)[:: -1 if number % 2 else 1]:
                turns.setdefault((task.label, side), []).append(run_task(roots[side], task))
    header = ("command", "checkout", "s to it", "s to the end", "CPU s", "ratio s", "ratio CPU")
    print(format_table(header, make_rows(tasks, turns), text_columns=2))
    other = load.share()
    print(describe_load(other), flush=True)
    measured = [{"command": label, "checkout": side, "turns": times} for (label, side), times in turns.items()]
    return {"measured": measured, "other_load": other}


def main() -> None:
    """Measure and print the table."""
    run_bench(bench, parse_arguments())


if __name__ == "__main__":
    run_command(main)
