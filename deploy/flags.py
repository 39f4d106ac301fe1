"""The flags that the commands of tools/deploy share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError, collecting
from common.files import check_target
from deploy.acceptance import TOLERANCES, Tolerance
from deploy.convert import Task
from deploy.registry import Runtime
from deploy.source import Source
from interchange.open_model import FORMATS
from settings.input_flags import add_input_flags, input_flags


def make_parser(description: str, output: str, precisions: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser with the flags of every conversion.

    Args:
        description: for ``--help``.
        output: what ``--output`` names.
        precisions: choices of ``--precision``, the first of which is the default; one alone is not a flag.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_load_dir", required=True, help=FORMATS)
    add_input_flags(parser)
    parser.add_argument("--output", required=True, help=output)
    if len(precisions) > 1:
        parser.add_argument(
            "--precision", choices=precisions, default=precisions[0], help="of the result (default: %(default)s)"
        )
    parser.add_argument(
        "--pairs",
        default="orl",
        help="faces to compare on: orl (the demo's set), a verification .bin, or a folder of faces without pairs",
    )
    parser.add_argument("--min_cosine", type=float, help="least cosine to the model's embeddings to accept")
    parser.add_argument(
        "--max_accuracy_drop", type=float, help="percentage points of verification accuracy that may be lost"
    )
    parser.add_argument("--speed", type=int, choices=(0, 1), default=1, help="0: do not measure images per second")
    return parser


def add_calibration_flags(parser: argparse.ArgumentParser, needed: bool = False) -> None:
    """Add --calibration, --images and --seed."""
    what = "faces to calibrate int8 with: the folder of train.rec, OFRecord parts, a folder of images, or a .bin"
    parser.add_argument("--calibration", required=needed, default="", help=what)
    parser.add_argument("--images", type=int, default=128, help="how many of them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of images (default: 0)")


def find_conversion_mistakes(args: argparse.Namespace, suffix: str = "") -> list[str]:
    """Return a message for each wrong flag; ``suffix`` is how the name of the output must end."""
    mistakes = [
        f"--{flag} is empty; give a path" for flag in ("model_load_dir", "output", "pairs") if not vars(args)[flag]
    ]
    if args.output and suffix and not args.output.endswith(suffix):
        mistakes.append(f"--output {args.output}: the name must end in {suffix}")
    if args.output and not suffix and Path(args.output).exists():
        mistakes.append(f"--output {args.output} exists already; remove it or choose another name")
    elif args.output:
        with collecting(mistakes):
            check_target(args.output, "--output")
    if args.min_cosine is not None and not -1 <= args.min_cosine <= 1:
        mistakes.append(f"--min_cosine {args.min_cosine} must be from -1 to 1")
    if args.max_accuracy_drop is not None and not args.max_accuracy_drop >= 0:
        mistakes.append(f"--max_accuracy_drop {args.max_accuracy_drop} must be at least 0")
    if getattr(args, "images", 1) < 1:
        mistakes.append(f"--images {args.images} must be at least 1")
    if getattr(args, "seed", 0) < 0:
        mistakes.append(f"--seed {args.seed} must be at least 0")
    return mistakes


def check_conversion_flags(args: argparse.Namespace, suffix: str = "", *others: str) -> None:
    """Check the flags.

    Raises:
        UserError: some are wrong; all are listed, with ``others``, the messages of the command's own checks.
    """
    mistakes = [*find_conversion_mistakes(args, suffix), *others]
    if mistakes:
        raise UserError(*mistakes)


def make_task(
    args: argparse.Namespace,
    precision: str,
    label: str,
    runtime: Runtime,
    convert: Callable[[Source, Path, Path], None],
    **more: Any,
) -> Task:
    """Return what the flags of ``make_parser`` ask for.

    Args:
        args: the flags.
        precision: of the result; it decides what the result may differ by, as far as the flags do not.
        label: see ``Task``, as for the following.
        runtime: what runs the result.
        convert: writes the result.
        more: what else the task has.
    """
    return Task(
        model=args.model_load_dir,
        target=Path(args.output),
        pairs=args.pairs,
        tolerance=_tolerance_of(args, precision),
        label=label,
        runtime=runtime,
        convert=convert,
        flags=input_flags(args),
        with_speed=bool(args.speed),
        **more,
    )


def _tolerance_of(args: argparse.Namespace, precision: str) -> Tolerance:
    """Return the tolerance of a precision, changed by the flags."""
    usual = TOLERANCES[precision]
    return Tolerance(
        usual.min_cosine if args.min_cosine is None else args.min_cosine,
        usual.max_accuracy_drop if args.max_accuracy_drop is None else args.max_accuracy_drop,
    )
