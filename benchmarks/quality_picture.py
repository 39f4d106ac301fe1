"""Draw the results of bench_quality: for each set accuracies with intervals, and differences to the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.intervals import Estimate
from benchmarks.quality_report import Row
from common.files import atomic_file

_COLOUR, _PALE = "#1f5fa8", "#9bbbe0"


def draw_rows(rows: Sequence[Row], path: Path) -> None:
    """Write the picture as PNG: a line of two panels for each set.

    Raises:
        UserError: the file cannot be written.
    """
    sets = list(dict.fromkeys(row.kind.data for row in rows))
    groups = [[row for row in rows if row.kind.data == name] for name in sets]
    figure = Figure(figsize=(12, 1 + sum(0.9 + 0.42 * len(group) for group in groups)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(sets), 2, squeeze=False, height_ratios=[1 + len(group) for group in groups])
    for name, group, (left, right) in zip(sets, groups, panels, strict=True):
        _draw_accuracies(left, group)
        _draw_differences(right, group)
        left.set_title(f"{name}: accuracy, %", fontsize=10)
        right.set_title("difference to the reference, points", fontsize=10)
    with atomic_file(path) as file:
        figure.savefig(file, format="png")


def _label(row: Row) -> str:
    rows = "" if row.kind.row_dtype == "float32" else f", {row.kind.row_dtype} rows"
    return f"{row.kind.recipe}, {row.kind.head}{rows}, {row.kind.ranks} rank(s)"


def _draw_accuracies(axes: Axes, rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        axes.plot([100 * each for each in row.accuracies], [place] * len(row.accuracies), ".", color=_PALE)
        _draw_estimate(axes, row.accuracy, place)
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=8)
    _finish(axes, len(rows))


def _draw_differences(axes: Axes, rows: Sequence[Row]) -> None:
    axes.axvline(0, color="#888888", linewidth=0.8)
    for place, row in enumerate(rows):
        if row.to_reference is not None:
            _draw_estimate(axes, row.to_reference, place)
    axes.set_yticks(range(len(rows)), [""] * len(rows))
    _finish(axes, len(rows))


def _draw_estimate(axes: Axes, estimate: Estimate, place: int) -> None:
    low, high = (100 * (estimate.mean - estimate.low), 100 * (estimate.high - estimate.mean))
    axes.errorbar(100 * estimate.mean, place, xerr=[[low], [high]], fmt="o", color=_COLOUR, capsize=3, markersize=4)


def _finish(axes: Axes, count: int) -> None:
    axes.set_ylim(count - 0.5, -0.5)
    axes.grid(alpha=0.3, axis="x")
