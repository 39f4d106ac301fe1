"""Compare the memory that a training announces with what it takes: ``python benchmarks/bench_estimate.py``.

Each case is a run of insightface_train.py of a few steps on synthetic images. ``announced`` is the estimate in its log,
``peak`` the largest resident memory of its largest rank. All other flags go to the training of every case. See
docs/benchmarks.md.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from backbones import build_network
from benchmarks.arguments import Parser, name_list, positive_int
from benchmarks.process_memory import run_watched
from benchmarks.report import describe_machine, format_machine, format_table, write_json
from common.errors import UserError, run_command
from engine.memory import estimate_memory
from settings.complete import complete_config
from settings.train_command import read_train_command

ROOT = Path(__file__).resolve().parents[1]
# A variation of the training by its name: the flags that make it.
MODES: dict[str, tuple[str, ...]] = {
    "f32": (),
    "bf16": ("--use_bf16", "1"),
    "recompute": ("--recompute", "1"),
    "recompute_bf16": ("--recompute", "1", "--use_bf16", "1"),
}
HEADS: dict[str, tuple[str, ...]] = {
    "replicated": ("--model_parallel", "0"),
    "split": ("--model_parallel", "1"),
    "partial": ("--partial_fc", "1", "--sample_ratio", "0.1"),
    "mapped": ("--partial_fc", "1", "--sample_ratio", "0.1", "--fc7_storage", "mmap"),
}
EXTRAS: dict[str, tuple[str, ...]] = {
    "accumulation": ("--gradient_accumulation", "2"),
    "adamw": ("--optimizer", "adamw", "--lr", "0.001"),
    "rows_bf16": ("--fc7_dtype", "bf16"),
    "frozen": ("--freeze_backbone_steps", "1000000"),
}
HEADER = ("network", "type", "head", "with", "ranks", "announced MB", "peak MB", "announced / peak")


def parse_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the benchmark's flags, and those for the training.

    Raises:
        UserError: a flag or value is unknown.
    """
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--networks", type=name_list, default=["y1", "r18", "r50", "r100"], help="of sample_config.py")
    parser.add_argument("--types", type=name_list, default=["f32", "bf16"], help=",".join(MODES))
    parser.add_argument("--heads", type=name_list, default=list(HEADS), help=",".join(HEADS))
    parser.add_argument("--with", type=name_list, default=["none"], dest="extras", help=",".join(["none", *EXTRAS]))
    parser.add_argument("--ranks", type=name_list, default=["1", "2"], help="numbers of ranks, as 1,2")
    parser.add_argument("--batch", type=positive_int, default=16, help="images per step over all ranks")
    parser.add_argument("--num_classes", type=positive_int, default=85742)
    parser.add_argument("--steps", type=positive_int, default=3)
    parser.add_argument("--json", default="", help="file for all numbers")
    args, rest = parser.parse_known_args(argv)
    for flag, given, known in (
        ("--types", args.types, MODES),
        ("--heads", args.heads, HEADS),
        ("--with", args.extras, {"none": (), **EXTRAS}),
    ):
        for name in given:
            if name not in known:
                raise UserError(f"{flag}: unknown name '{name}'; known: {', '.join(known)}")
    return args, rest


def cases(args: argparse.Namespace, rest: Sequence[str]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield the name of each case, column by column, and the flags of its training."""
    for network in args.networks:
        for kind in args.types:
            for head in args.heads:
                for extra in args.extras:
                    for ranks in args.ranks:
                        flags = {
                            "network": network,
                            "num_classes": args.num_classes,
                            "train_batch_size": args.batch,
                            "device_num_per_node": ranks,
                            "train_iter": args.steps,
                            "use_synthetic_data": 1,
                            "total_img_num": 100_000,
                            "ckpt": 0,
                            "save_last_snapshot": 0,
                            "device": "cpu",
                        }
                        words = [item for key, value in flags.items() for item in (f"--{key}", str(value))]
                        words += [*MODES[kind], *HEADS[head], *EXTRAS.get(extra, ()), *rest]
                        yield (network, kind, head, "" if extra == "none" else extra, ranks), words


def measure(flags: Sequence[str]) -> dict[str, Any]:
    """Return the parts of the estimate, and the largest memory of the processes of the run, by their names.

    Raises:
        UserError: the training failed; the message has the end of its output.
    """
    command = read_train_command(flags)
    ranks = int(command.config.device_num_per_node)
    config = complete_config(command.config, ranks, "cpu")
    estimate = estimate_memory(config, build_network(config), ranks)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        places = ["--models_root", f"{folder}/models", "--log_dir", f"{folder}/log"]
        mapped = Path(folder) / "rows" if config["fc7_storage"] == "mmap" else None
        if mapped is not None:
            places += ["--fc7_storage_dir", str(mapped)]
        log = Path(folder) / "output"
        run = [sys.executable, str(ROOT / "insightface_train.py"), *flags, *places]
        code, processes = run_watched(run, log, mapped)
        if code:
            end = " ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
            raise UserError(f"the training ended with exit code {code}: {end}")
    peaks: dict[str, int] = {}
    for process in processes.values():
        peaks[process.name] = max(peaks.get(process.name, 0), process.peak_bytes)
    largest = max(count for name, count in peaks.items() if name.startswith("rank "))
    return {"announced": estimate.rank, "peak": largest, "parts": vars(estimate), "processes": peaks}


def main() -> None:
    """Run all cases, print a row as soon as it is there, then the table."""
    args, rest = parse_arguments(sys.argv[1:])
    print(format_machine(describe_machine()))
    rows, measured = [], []
    for case, flags in cases(args, rest):
        try:
            found = measure(flags)
        except UserError as error:
            print(f"not measured: {' '.join(case)}: {error}", flush=True)
            continue
        ratio = found["announced"] / found["peak"]
        rows.append([*case, f"{found['announced'] / 1e6:.0f}", f"{found['peak'] / 1e6:.0f}", f"{ratio:.3f}"])
        measured.append({"case": case, "flags": flags, **found})
        print(" ".join(rows[-1]), flush=True)
    print(format_table(HEADER, rows, text_columns=4))
    if args.json:
        write_json(args.json, {"settings": vars(args), "cases": measured})


if __name__ == "__main__":
    run_command(main)
