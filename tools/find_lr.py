"""Suggest a learning rate: ``python tools/find_lr.py --dataset emore --network r50 --loss arcface --partial_fc 1``.

    python tools/find_lr.py --sweep_steps 200 --picture find_lr.png --dataset_dir DIR --network y1 --loss arcface

Trains on your own images with the head, optimiser and augmentation that the flags ask for. First it takes a few
hundred steps, each at a larger rate than the one before, from --lowest to --highest: where the loss falls is about the
right power of ten. From there it trains for --trial_steps at single rates, each from the start, on the same images and
with the run's schedule in so many steps, four times and then twice as large and as small as the best, and suggests the
rate whose loss ends lowest. Takes the flags of insightface_train.py (see its --help) besides its own; the length and
the schedule of the run belong to them, because the best rate depends on when it falls. Writes the picture and, if asked
for, --json; a training with the same flags is not touched. See docs/training.md.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common.errors import UserError, run_command
from common.files import atomic_file, check_target
from common.imports import importing
from engine.rate_suggestion import FEWEST, Suggestion, suggest_rate
from engine.schedule import make_plan
from launch.devices import choose_device
from launch.rank import RankReporter, inherited_settings, run_as_rank
from launch.supervisor import launch
from settings.choices import TRIPLET_LOSSES
from settings.complete import complete_config
from settings.config import Config
from settings.places import storage_directory
from settings.tool_flags import ToolParser, positive_number
from settings.train_command import read_train_command

_RANGES = {"sgd": (1e-4, 3.0), "adamw": (1e-6, 0.1)}


class Sweep(NamedTuple):
    """What the ranks found.

    Attributes:
        rates: of each step of the sweep.
        losses: of each step that was taken.
        trials: rates and the losses at which they ended, in the order of the trials; None for one that diverged.
    """

    rates: list[float]
    losses: list[float]
    trials: list[tuple[float, float | None]]


def steps_number(text: str) -> int:
    """Parse a whole number of steps.

    Raises:
        ArgumentTypeError: ``text`` is not one, or too small.
    """
    if not text.isdecimal() or int(text) < FEWEST:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number >= {FEWEST}")
    return int(text)


def parse_arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return this command's flags, and those of the training.

    Raises:
        UserError: a value is impossible.
    """
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--sweep_steps", type=steps_number, default=200, help="steps of the sweep (default: 200)")
    parser.add_argument(
        "--trial_steps",
        type=steps_number,
        default=60,
        help="steps of each trial, at most those of the run (default: 60)",
    )
    parser.add_argument("--lowest", type=positive_number, default=None, help="first rate (default: 1e-4; adamw 1e-6)")
    parser.add_argument("--highest", type=positive_number, default=None, help="last rate (default: 3; adamw 0.1)")
    parser.add_argument("--picture", default="find_lr.png", help="the .png to write (default: find_lr.png)")
    parser.add_argument("--json", default="", help="file for rates, losses, trials and suggestion")
    args, rest = parser.parse_known_args(argv)
    if Path(args.picture).suffix.lower() != ".png":
        raise UserError(f"--picture {args.picture}: the name must end in .png")
    for path, flag in ((args.picture, "--picture"), (args.json, "--json")):
        if path:
            check_target(path, flag)
    return args, rest


def sweep_config(args: argparse.Namespace, words: Sequence[str], scratch: Path) -> tuple[Config, int]:
    """Return the settings of the sweep, which writes to ``scratch`` alone, and the number of ranks.

    Raises:
        UserError: a flag is unknown, impossible, or cannot be swept.
    """
    given = read_train_command(words).config
    mistakes = []
    if given.loss_name in TRIPLET_LOSSES:
        mistakes.append(f"--loss {given.loss}: its triplets are chosen anew, so that its values say nothing of a rate")
    if given.num_nodes > 1:
        mistakes.append(f"--num_nodes {given.num_nodes}: the sweep runs on one machine; omit it")
    if given.model_load_dir:
        mistakes.append("--model_load_dir: the sweep starts as a new run does; give the snapshot to --pretrained")
    lowest, highest = (a or b for a, b in zip((args.lowest, args.highest), _RANGES[given.optimizer], strict=True))
    if lowest >= highest:
        mistakes.append(f"--lowest {lowest:g} is not below --highest {highest:g}")
    if mistakes:
        raise UserError(*mistakes)
    device, ranks = choose_device(given)
    config = complete_config(given, ranks, device)
    frozen = config.freeze_backbone_steps
    if frozen:
        is_always = frozen >= make_plan(config, config.total_img_num).total_steps
        frozen = max(frozen, args.sweep_steps, args.trial_steps) if is_always else 0
    config = config.replaced(
        lr=1.0,  # the sweep sets the rate of each step
        resume=False,
        label_map="",
        freeze_backbone_steps=frozen,
        models_root=str(scratch / "models"),
        log_dir=str(scratch / "log"),
        iter_num_in_snapshot=0,
        save_last_snapshot=False,
        ema_decay=0.0,
        teacher_cache=False,
        do_validation_while_train=False,
        sweep_lowest=lowest,
        sweep_highest=highest,
        sweep_steps=args.sweep_steps,
        sweep_trial_steps=args.trial_steps,
        sweep_result=str(scratch / "sweep.json"),
    )
    return config, ranks


def sweep_as_rank(config: Config, reporter: RankReporter) -> None:
    """Sweep as one of the ranks."""
    with importing():
        from engine.rate_sweep import sweep  # here, so that the launching process stays free of OneFlow

    sweep(config, reporter)


def check(config: Config, ranks: int) -> None:
    """Check data, memory and the model to start from, as a training does, without its lines on the console.

    Raises:
        UserError: they do not fit.
    """
    with importing():
        from engine.preflight import check_run

    with contextlib.redirect_stdout(io.StringIO()):
        check_run(config, ranks)


def draw(found: Suggestion | None, swept: Sweep, rate: float | None, title: str, path: Path) -> None:
    """Write the picture: losses and smoothed losses of the sweep, and the trials with the suggested rate, if any.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here, so that mistakes are reported sooner
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    left.semilogx(swept.rates[: len(swept.losses)], swept.losses, color="#9bbbe0", linewidth=0.8, label="loss")
    if found is not None:
        left.semilogx(swept.rates[: len(swept.losses)], found.smoothed, color="#1f5fa8", label="smoothed")
        left.axvline(found.turning, color="#b03030", linestyle=":", label=f"lowest: {found.turning:.2g}")
        left.axvline(found.rate, color="#808080", linestyle=":", label=f"first trial: {found.rate:g}")
    trials = sorted((each, loss) for each, loss in swept.trials if loss is not None)
    right.semilogx(*zip(*trials, strict=True) if trials else ([], []), "o-", color="#1f5fa8", label="trials")
    if rate is not None:
        right.axvline(rate, color="#207020", label=f"suggested: {rate:g}")
    left.set(title="a sweep", xlabel="learning rate", ylabel="loss")
    right.set(title="trials from the start", xlabel="learning rate", ylabel="loss of the last tenth of the steps")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    with atomic_file(path) as file:
        figure.savefig(file, format="png")


def report(args: argparse.Namespace, config: Config, swept: Sweep) -> None:
    """Write picture and numbers, and print the suggestion.

    Raises:
        UserError: the losses suggest no rate; picture and numbers are there all the same.
    """
    found, failure, rate = None, None, None
    try:
        found = suggest_rate(swept.rates, swept.losses)
        rate = best_rate(swept.trials)
    except UserError as error:
        failure = error
    title = f"{config.network}, {config.loss}, {config.optimizer}, batch {config.train_batch_size}"
    draw(found, swept, rate, title, Path(args.picture))
    if args.json:
        with atomic_file(args.json, "w") as file:
            json.dump({"suggestion": rate, **swept._asdict()}, file)
            file.write("\n")
    print(f"picture: {args.picture}")
    if failure is not None:
        raise failure
    tried = [each for each, _ in swept.trials]
    for edge, flag, limit in (
        (min(tried), "--lowest", config.sweep_lowest),
        (max(tried), "--highest", config.sweep_highest),
    ):
        if rate == edge:
            print(f"note: no rate beyond {edge:g} was tried; a {flag} beyond {limit:g} may suggest a better one")
    print(f"suggestion: --lr {rate:g}")


def best_rate(trials: Sequence[tuple[float, float | None]]) -> float:
    """Return the rate of the trial with the smallest loss.

    Raises:
        UserError: all trials diverged.
    """
    finite = [(loss, rate) for rate, loss in trials if loss is not None]
    if not finite:
        lowest = min(rate for rate, _ in trials)
        raise UserError(
            f"the training diverges at each rate down to {lowest:g}; use a smaller --lowest, or --clip_gradient 5"
        )
    return min(finite)[1]


def main() -> int:
    """Sweep, try rates, draw, and print the suggestion; return the exit code."""
    handed = inherited_settings()
    if handed is not None:
        run_as_rank(sweep_as_rank, Config(handed))
    args, words = parse_arguments(sys.argv[1:])
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="find_lr-")))
        config, ranks = sweep_config(args, words, scratch)
        rows = storage_directory(config)
        if rows is not None:  # mapped files may need a disk that the system's temporary folder is not on
            near = next(each for each in (rows, *rows.absolute().parents) if each.is_dir())
            own = stack.enter_context(tempfile.TemporaryDirectory(prefix="find_lr-", dir=near))
            config = config.replaced(fc7_storage_dir=own)
        check(config, ranks)
        print(
            f"{config.network}, {config.loss}, {config.optimizer}, batch {config.train_batch_size} on {ranks} rank(s): "
            f"a sweep of {args.sweep_steps} steps, rates {config.sweep_lowest:g} to {config.sweep_highest:g}",
            flush=True,
        )
        code = launch(config, ranks, scratch / "log", sys.argv[1:])
        if code:
            return code
        swept = Sweep(**json.loads((scratch / "sweep.json").read_text()))
    report(args, config, swept)
    return 0


if __name__ == "__main__":
    run_command(main)
