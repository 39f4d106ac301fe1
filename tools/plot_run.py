"""Draw how trainings went: ``python tools/plot_run.py output/log/r100-arcface-emore --output plot.png``.

The picture has four panels over the step: loss, accuracy (of training, and of each verification set), learning rate
and throughput. Several runs are drawn together and compared: give the folder of each. A folder of logs is one that
holds ``metrics.jsonl``.
"""

from __future__ import annotations

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))))

from common.interrupts import end_on_interrupt

end_on_interrupt(__name__)

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from common.errors import require, run_command
from common.files import atomic_file
from common.json_text import parse_json

TRAIN = "train"
MAX_LEGEND = 12  # entries in letters of full size
SMOOTHED_POINTS = 300  # more points than this are drawn pale, with a running mean over them
SET_STYLES = ("--", ":", "-.")


@dataclass
class Curve:
    """Numbers of a run over its steps."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass
class Run:
    """The curves of one run, by kind ("train", or a verification set) and name of the number."""

    name: str
    curves: dict[str, dict[str, Curve]]

    def curve(self, kind: str, name: str) -> Curve:
        """Return a curve, without points if the run has none of that name."""
        return self.curves.get(kind, {}).get(name, Curve())


def read_run(folder: Path) -> Run:
    """Read the numbers of a run; a last line that was torn by a crash is left out.

    Raises:
        UserError: the folder contains no metrics.jsonl, or no numbers of a training.
    """
    path = folder / "metrics.jsonl"
    require(
        path.is_file(),
        f"{folder} contains no metrics.jsonl; give the folder of a run, as output/log/r100-arcface-emore",
    )
    curves: dict[str, dict[str, Curve]] = {}
    for line in path.read_text(errors="replace").splitlines():
        try:
            numbers = parse_json(line)
            step, kind = int(numbers.pop("step")), str(numbers.pop("kind"))
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
        for name, value in numbers.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                curve = curves.setdefault(kind, {}).setdefault(name, Curve())
                curve.steps.append(step)
                curve.values.append(float(value))
    require(
        "loss" in curves.get(TRAIN, {}), f"{path} contains no numbers of a training yet; wait for its first log line"
    )
    return Run(folder.resolve().name, curves)


def read_runs(folders: Sequence[str]) -> list[Run]:
    """Read several runs; those of one name are told apart by their whole paths.

    Raises:
        UserError: a folder contains no metrics.jsonl, or no numbers of a training.
    """
    runs = [read_run(Path(folder)) for folder in folders]
    names = [run.name for run in runs]
    return [
        Run(folder if names.count(run.name) > 1 else run.name, run.curves)
        for run, folder in zip(runs, folders, strict=True)
    ]


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Return the mean of up to ``width`` values that end at each."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    return [(sums[i + 1] - sums[max(0, i + 1 - width)]) / min(width, i + 1) for i in range(len(values))]


def _draw(axes: Axes, curve: Curve, label: str, colour: tuple, style: str = "-", smooth: bool = True) -> None:
    if not curve.steps:
        return
    values = curve.values
    if smooth and len(values) > SMOOTHED_POINTS:
        axes.plot(curve.steps, values, color=colour, alpha=0.2, linewidth=0.8)
        values = running_mean(values, len(values) // 50)
    marker = "o" if len(values) < 12 else None
    axes.plot(curve.steps, values, style, color=colour, label=label, linewidth=1.4, marker=marker, markersize=3)


def plot_runs(runs: Sequence[Run]) -> Figure:
    """Return the figure of four panels: loss, accuracy, learning rate, throughput; 2100 x 1400 pixels."""
    figure = Figure(figsize=(14, 9.3), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    (loss, accuracy), (rate, speed) = figure.subplots(2, 2)
    colours = colormaps["tab10"].colors
    for number, run in enumerate(runs):
        colour = colours[number % len(colours)]
        _draw(loss, run.curve(TRAIN, "loss"), run.name, colour)
        _draw(accuracy, run.curve(TRAIN, "acc"), f"{run.name}: training", colour)
        sets = [kind for kind in run.curves if run.curve(kind, "accuracy").steps]
        for place, name in enumerate(sets):
            style = SET_STYLES[place % len(SET_STYLES)]
            _draw(accuracy, run.curve(name, "accuracy"), f"{run.name}: {name}", colour, style, smooth=False)
        _draw(rate, run.curve(TRAIN, "lr"), run.name, colour, smooth=False)
        _draw(speed, run.curve(TRAIN, "images_per_second"), run.name, colour)
    titles = {
        loss: "Loss",
        accuracy: "Accuracy: training batches and verification sets",
        rate: "Learning rate",
        speed: "Throughput, images per second",
    }
    for axes, title in titles.items():
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        entries = len(axes.get_legend_handles_labels()[0])
        if entries:
            axes.legend(fontsize=8 if entries <= MAX_LEGEND else 5)
    accuracy.set_ylim(-0.02, 1.02)
    for axes in (rate, speed):
        axes.set_ylim(bottom=0)
    return figure


def main() -> None:
    """Parse the command line and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log_dir", nargs="+", help="folder of a run's logs, with metrics.jsonl in it")
    parser.add_argument("--output", default="plot.png", help="the .png to write (default: plot.png)")
    args = parser.parse_args()
    require(Path(args.output).suffix.lower() == ".png", f"--output {args.output}: the name must end in .png")
    runs = read_runs(args.log_dir)
    figure = plot_runs(runs)
    with atomic_file(args.output) as file:
        figure.savefig(file, format="png")
    steps = max(run.curve(TRAIN, "loss").steps[-1] for run in runs)
    print(f"{args.output}: {len(runs)} run(s), up to step {steps}")


if __name__ == "__main__":
    run_command(main)
