"""Compare the accuracy of Partial FC and of bf16 class rows with the full head: ``python benchmarks/bench_quality.py``.

All train the same network on the same drawn faces for the same number of steps, for each number of ranks and each seed,
with the loop of insightface_train.py. Verification uses other people. Flags that are not listed here are passed to the
training (see insightface_train.py --help). See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from benchmarks.arguments import Parser, name_list, positive_int
from benchmarks.report import describe_machine, format_machine, format_table, write_json
from common.errors import run_command
from insightface_train import train_as_rank
from launch.rank import inherited_settings, run_as_rank
from launch.supervisor import launch
from settings.complete import complete_config
from settings.config import Config
from settings.places import run_directory
from settings.train_command import resolve_train_config

SEED = 1  # of the faces
SET = "drawn"


class Form(NamedTuple):
    """What differs between trainings: Partial FC's ratio (1 is the full head), the type of the rows, and the seed."""

    ratio: str
    row_dtype: str
    seed: str

    @property
    def name(self) -> str:
        """Return what a folder of such a training is called."""
        return "-".join(self)


def parse_arguments(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the flags of the benchmark, and those of the training.

    Raises:
        UserError: a value is not a number.
    """
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--people", type=positive_int, default=2000, help="people in the training set")
    parser.add_argument("--images", type=positive_int, default=6, help="images of each of them")
    parser.add_argument("--others", type=positive_int, default=500, help="people in the verification set")
    parser.add_argument("--pairs", type=positive_int, default=3000, help="verification pairs")
    parser.add_argument("--size", type=positive_int, default=40, help="height and width of the images")
    parser.add_argument("--steps", type=positive_int, default=300)
    parser.add_argument("--ratios", type=name_list, default=["1", "0.1"], help="1 is the full head, below 1 Partial FC")
    parser.add_argument("--row_dtype", type=name_list, default=["float32"], help="of the class rows: float32,bf16")
    parser.add_argument("--seeds", type=name_list, default=["1"], help="one training for each; tables show the means")
    parser.add_argument("--ranks", type=name_list, default=["1", "2"])
    parser.add_argument("--json", default="", help="file for all numbers")
    return parser.parse_known_args(argv)


def make_config(args: argparse.Namespace, rest: list[str], folder: Path, name: str, form: Form) -> Config:
    """Return the settings of one training on the faces in ``folder``."""
    given = {
        "network": "y1",
        "dataset": "orl",
        "loss": "cosface",
        "net_output": "FC",
        "image_size": args.size,
        "num_classes": args.people,
        "dataset_dir": folder / "train",
        "val_dataset_dir": folder,
        "val_targets": SET,
        "device": "cpu",
        "net_blocks": "1,1,1,1",
        "loss_s": 16,
        "loss_m3": 0.1,
        "optimizer": "adamw",
        "lr": 0.004,
        "weight_decay": 0.05,
        "train_iter": args.steps,
        "validation_interval": args.steps,
        "train_batch_size": 64,
        "clip_gradient": 5,
        "lr_schedule": "poly",
        "warmup_steps": args.steps // 10,
        "data_shift": 2,
        "data_zoom": 0,
        "iter_num_in_snapshot": 0,
        "save_last_snapshot": 0,
        "loss_print_frequency": 20,
        "val_batch_size": 100,
        "partial_fc": int(float(form.ratio) < 1),
        "sample_ratio": form.ratio,
        "fc7_dtype": form.row_dtype,
        "seed": form.seed,
        "models_root": folder / name / "models",
        "log_dir": folder / name / "log",
    }
    flags = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    return resolve_train_config([*flags, *rest])


def train(config: Config, ranks: int, argv: list[str], form: Form) -> dict[str, Any]:
    """Train on ``ranks`` ranks and return the results. If a rank fails, exit: the failure has been printed already."""
    log_dir = run_directory(config, config.log_dir)
    start = time.perf_counter()
    code = launch(config, ranks, log_dir, argv)
    if code:
        sys.exit(code)
    lines = [json.loads(line) for line in (log_dir / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    verified = [line for line in lines if line["kind"] == SET][-1]
    return {
        "ranks": ranks,
        "ratio": float(form.ratio),
        "row_dtype": form.row_dtype,
        "seed": form.seed,
        "accuracy": verified["accuracy"],
        "std": verified["accuracy_std"],
        "losses": losses,
        "seconds": time.perf_counter() - start,
    }


def make_rows(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return the rows of the table: means over the seeds.

    "to full head" compares with float32 rows and all classes on the same number of ranks, "to float32" with the same
    form. The deviation is that over the seeds, of a single one that over the folds of its verification.
    """
    kinds = list(dict.fromkeys((each["ratio"], each["ranks"], each["row_dtype"]) for each in results))
    runs = {
        kind: [each for each in results if (each["ratio"], each["ranks"], each["row_dtype"]) == kind] for kind in kinds
    }
    means = {kind: float(np.mean([each["accuracy"] for each in some])) for kind, some in runs.items()}
    rows = []
    for (ratio, ranks, row_dtype), some in runs.items():
        mean = means[ratio, ranks, row_dtype]
        deviation = np.std([each["accuracy"] for each in some]) if len(some) > 1 else some[0]["std"]
        rows.append(
            [
                "full head" if ratio == 1 else f"Partial FC {ratio:g}",
                row_dtype,
                str(ranks),
                f"{100 * mean:.2f} +- {100 * deviation:.2f}",
                *(_gap(mean, means.get((other, ranks, "float32"))) for other in (1, ratio)),
                f"{np.mean([each['losses'][-1] for each in some]):.2f}",
                f"{sum(each['seconds'] for each in some):.0f}",
            ]
        )
    return rows


def _gap(accuracy: float, other: float | None) -> str:
    return "" if other is None else f"{100 * (accuracy - other):+.2f}"


def main() -> None:
    """Draw the faces, train in every form on every number of ranks, print the table."""
    argv = sys.argv[1:]
    args, rest = parse_arguments(argv)
    settings = inherited_settings()
    if settings is not None:
        run_as_rank(train_as_rank, Config(settings))
    from data.drawn_faces import FaceOptions, write_faces

    results = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        options = FaceOptions(args.people, args.images, args.others, args.pairs, args.size)
        write_faces(Path(folder), SEED, options)
        for ranks, *parts in itertools.product(map(int, args.ranks), args.ratios, args.row_dtype, args.seeds):
            form = Form(*parts)
            config = make_config(args, rest, Path(folder), f"{ranks}-{form.name}", form)
            results.append(train(complete_config(config, ranks, "cpu"), ranks, argv, form))
    print(format_machine(describe_machine()))
    print(
        f"{args.people} people, {args.images} images of each, {args.size}x{args.size}, {args.steps} steps; "
        f"{args.pairs} pairs of {args.others} others; "
        f"seeds {', '.join(args.seeds)}"
    )
    header = ("", "rows", "ranks", "accuracy %", "to full head", "to float32", "last loss", "s")
    print(format_table(header, make_rows(results)), flush=True)
    if args.json:
        write_json(args.json, {"settings": vars(args), "training": rest, "results": results})


if __name__ == "__main__":
    run_command(main)
