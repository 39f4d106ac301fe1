"""Say what a training would need, without starting it: ``python tools/plan_run.py --network r100 --num_classes 100M``.

    python tools/plan_run.py --network r100 --num_classes 100M --partial_fc 1 --ranks 64 --memory_per_rank 80

Memory by part, bytes between the ranks, snapshot size, the largest batch and the smallest number of ranks, from the
formulas of the training's own estimate, and a line of advice. Needs no images. Takes the flags of insightface_train.py
(see its --help) besides its own; numbers may end in k, M or G. See docs/training.md.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from backbones import build_network
from common.errors import UserError, run_command
from common.files import atomic_file
from engine.capacity import RunPlan, plan_run
from settings.complete import complete_config
from settings.config import Config
from settings.tool_flags import ToolParser, positive_number
from settings.train_command import resolve_train_config

_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9}
_COUNT_FLAGS = ("--num_classes", "--train_batch_size", "--train_batch_size_per_device", "--total_img_num")
_GIVEN_BY_RANKS = ("--device_num_per_node", "--num_nodes")


def whole_number(text: str) -> int:
    """Parse a whole number above 0, such as 64, 10k, 1.5M or 1G.

    Raises:
        ArgumentTypeError: ``text`` is not one.
    """
    match = re.fullmatch(r"([0-9]+)(?:\.([0-9]+))?([kMG]?)", text)
    if match is not None:
        whole, decimals, unit = match.groups(default="")
        count, rest = divmod(int(whole + decimals) * _UNITS.get(unit, 1), 10 ** len(decimals))
        if count > 0 and rest == 0:
            return count
    raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0 such as 500, 10k, 1.5M or 1G")


def parse_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, Config]:
    """Return this command's flags and the completed settings of the training.

    Raises:
        UserError: a flag or value is unknown or impossible, to this command or to the training.
    """
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--ranks", type=whole_number, default=1, help="over all machines (default: 1)")
    parser.add_argument("--memory_per_rank", type=positive_number, default=16.0, help="GB free per rank (default: 16)")
    parser.add_argument(
        "--link_gbit", type=positive_number, default=10.0, help="Gbit/s per rank each way (default: 10)"
    )
    parser.add_argument("--json", default="", help="file for all numbers")
    args, rest = parser.parse_known_args(argv)
    words = _without_units(rest)
    for word in words:
        if word.split("=")[0] in _GIVEN_BY_RANKS:
            raise UserError(f"{word.split('=')[0]}: give --ranks, the number over all machines")
    config = resolve_train_config(["--use_synthetic_data", "1", *words])
    return args, complete_config(config, args.ranks, "cuda" if config.device == "cuda" else "cpu")


def _without_units(words: Sequence[str]) -> list[str]:
    """Return ``words`` with the counts written out, as the training reads them.

    Raises:
        UserError: one of them is not a number.
    """
    result: list[str] = []
    flag = ""
    for word in words:
        name, equals, value = word.partition("=")
        try:
            if name in _COUNT_FLAGS and equals:
                word = f"{name}={whole_number(value)}"
            elif flag in _COUNT_FLAGS:
                word = str(whole_number(word))
        except argparse.ArgumentTypeError as error:
            raise UserError(f"{name if equals else flag}: {error}") from error
        result.append(word)
        flag = word
    return result


def lines_of(plan: RunPlan, config: Config, gbit: float) -> list[str]:
    """Return the plan as lines of text."""
    estimate, wire = plan.estimate, plan.wire
    head = "Partial FC" if config.partial_fc else "model parallel" if config.model_parallel else "replicated"
    table = [
        ("memory of a rank, GB", ""),
        ("  class rows", f"{estimate.fc7 / 1e9:.2f}"),
        ("  their moments", f"{estimate.momentum / 1e9:.2f}"),
        ("  class rows in a step", f"{estimate.rows_in_step / 1e9:.2f}"),
        ("  logits", f"{estimate.logits / 1e9:.2f}"),
        ("  backbone, moments, gradients", f"{estimate.backbone / 1e9:.2f}"),
        ("  feature maps", f"{estimate.activations / 1e9:.2f}"),
        *([("  teacher", f"{estimate.teacher / 1e9:.2f}")] if estimate.teacher else []),
        ("  the process itself", f"{estimate.process / 1e9:.2f}"),
        ("  in all", f"{estimate.rank / 1e9:.2f} of {plan.memory / 1e9:g}"),
        ("mapped files of a rank, GB", f"{estimate.in_files / 1e9:.2f}"),
        ("a snapshot, GB", f"{estimate.snapshot / 1e9:.2f}"),
        ("received by a rank in a step, MB", ""),
        ("  gradients of the backbone", f"{wire.backbone / 1e6:.2f}"),
        ("  embeddings and their gradient", f"{wire.embeddings / 1e6:.2f}"),
        ("  gradients of the class rows", f"{wire.rows / 1e6:.2f}"),
        ("  labels, places, sums", f"{wire.small / 1e6:.2f}"),
        ("  in all", f"{wire.total / 1e6:.2f}"),
        (f"seconds of a step on the link, {gbit:g} Gbit/s", f"{wire.seconds(gbit):.4f}"),
        ("largest batch that fits", str(plan.largest_batch or "none")),
        ("smallest number of ranks that fits", str(plan.smallest_ranks or "none")),
    ]
    for ratio, count in plan.ratios.items():
        fits = "fits" if count <= plan.memory else "does not fit"
        table.append((f"--sample_ratio {ratio:g}", f"{count / 1e9:.2f} GB, {fits}"))
    width = max(len(name) for name, _ in table)
    return [
        f"{config.network}, {config.num_classes:,} classes, {config.loss_name}, {head}, "
        f"batch {config.train_batch_size} on {plan.ranks} rank(s)",
        *(f"{name:{width}}  {value}".rstrip() for name, value in table),
        plan.advice,
    ]


def describe(plan: RunPlan, config: Config, gbit: float) -> dict[str, Any]:
    """Return the plan as JSON."""
    estimate = {**asdict(plan.estimate), "rank": plan.estimate.rank}
    wire = {**asdict(plan.wire), "total": plan.wire.total, "seconds": plan.wire.seconds(gbit)}
    return {
        **asdict(plan),
        "estimate": estimate,
        "wire": wire,
        "ratios": [{"sample_ratio": ratio, "rank": count} for ratio, count in plan.ratios.items()],
        "fits": plan.fits,
        "link_gbit": gbit,
        "config": dict(config),
    }


def main() -> int:
    """Print the plan; return 0, also if the run does not fit."""
    args, config = parse_arguments(sys.argv[1:])
    plan = plan_run(config, build_network(config), args.ranks, int(args.memory_per_rank * 1e9))
    print(*lines_of(plan, config, args.link_gbit), sep="\n")
    if args.json:
        with atomic_file(args.json, "w") as file:
            json.dump(describe(plan, config, args.link_gbit), file, indent=2)
            file.write("\n")
    return 0


if __name__ == "__main__":
    run_command(main)
