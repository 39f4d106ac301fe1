"""Draw the ROC curves of verification sets as one PNG, with matplotlib but without pyplot or a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

import numpy as np

from evaluation.verification import FAR_TARGET, VerificationResult

LEFT_EDGE = 1e-4  # a set of 6000 pairs resolves 1/3000; no common set resolves less than this
LINE_STYLES = ("-", "--", ":", "-.")
MAX_LEGEND_INSIDE = 8


def draw_roc(handle: IO[bytes], results: Sequence[VerificationResult]) -> None:
    """Write a PNG of the true accept rate over the false accept rate (logarithmic) to ``handle``.

    The picture has 1200 x 825 pixels; with more than 8 sets it is 1650 wide and the legend stands beside the curves.

    Curves are steps: the rate a set reaches without exceeding a false accept rate, not interpolated between points. A
    set without a curve (no same or no different pairs) appears only in the legend.
    """
    # Here, because it takes a quarter of a second, and most verifications draw nothing.
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    many = len(results) > MAX_LEGEND_INSIDE
    figure = Figure(figsize=(11 if many else 8, 5.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log")
    colours = colormaps["tab10"].colors
    bottom = 1.0
    for number, result in enumerate(results):
        round_trip, colour = divmod(number, len(colours))
        x, y = _visible_steps(result)
        axes.plot(
            x,
            y,
            drawstyle="steps-post",
            color=colours[colour],
            linestyle=LINE_STYLES[round_trip % len(LINE_STYLES)],
            linewidth=1.8,
            label=_legend_entry(result),
        )
        bottom = min(bottom, y.min(initial=1.0))
    bottom = max(0.0, np.floor(10 * bottom - 0.5) / 10)
    if bottom == 0:
        chance = np.geomspace(LEFT_EDGE, 1, 200)
        axes.plot(chance, chance, color="0.6", linestyle=":", linewidth=1, label="chance")
    axes.axvline(FAR_TARGET, color="0.6", linewidth=1, linestyle=(0, (4, 4)), zorder=1, label="FAR of the VAL figure")
    axes.set(
        title="Face verification",
        xlabel="False accept rate",
        ylabel="True accept rate",
        xlim=(LEFT_EDGE, 1),
        ylim=(bottom, 1 + 0.02 * (1 - bottom)),
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="upper left" if many else "best",
        bbox_to_anchor=(1.0, 1.0) if many else None,
        fontsize="small",
        framealpha=0.9,
    )
    figure.savefig(handle, format="png")


def _visible_steps(result: VerificationResult) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of the curve from the left edge on, starting at its height there."""
    if not len(result.fpr):
        return np.empty(0), np.empty(0)
    start = np.searchsorted(result.fpr, LEFT_EDGE, side="right")
    return np.r_[LEFT_EDGE, result.fpr[start:]], np.r_[result.tpr[start - 1], result.tpr[start:]]


def _legend_entry(result: VerificationResult) -> str:
    accuracy = f"{result.name}: accuracy {100 * result.accuracy:.2f} %"
    return f"{accuracy}, AUC {result.auc:.4f}" if len(result.fpr) else f"{accuracy}, no curve"
