"""Draw the curves of IJB-B and IJB-C, without pyplot or a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from evaluation.templates.identification import OPEN_RATES
from evaluation.templates.protocol import ModeResult
from evaluation.templates.roc_points import FPR_TARGETS

_STYLES = ("-", "--", ":", "-.")


def draw_verification(handle: IO[bytes], target: str, results: Sequence[ModeResult]) -> None:
    """Write a PNG of 1200 x 825 pixels with TPR over FPR, from 1e-6 to 0.1, of each mode.

    Dots are the reported numbers, at the FPR of the point that they are taken from.
    """
    figure, axes = _figure(
        f"1:1 verification on {target[:3]}-{target[3:]}", "False positive rate", "True positive rate"
    )
    left, right = FPR_TARGETS[0], FPR_TARGETS[-1]
    for number, result in enumerate(results):
        if result.verification is None:
            continue
        curve = result.verification.curve
        rates = np.geomspace(left, right, 1000)
        line = axes.plot(
            rates,
            np.interp(rates, curve.fpr, curve.tpr),
            linestyle=_STYLES[number // 10 % len(_STYLES)],
            linewidth=1.6,
            label=f"{result.mode}: AUC {100 * curve.auc:.4f} %",
        )[0]
        points = result.verification.points
        axes.plot([p.fpr for p in points], [p.tpr for p in points], "o", markersize=3.5, color=line.get_color())
    _finish(figure, axes, handle, left, right)


def draw_identification(handle: IO[bytes], target: str, results: Sequence[ModeResult]) -> None:
    """Write a PNG of 1200 x 825 pixels with the galleries' mean TPIR over FPIR, from 1e-4 to 1, of each mode."""
    figure, axes = _figure(
        f"1:N identification on {target[:3]}-{target[3:]}",
        "False positive identification rate",
        "True positive identification rate",
    )
    for number, result in enumerate(results):
        if result.identification is None:
            continue
        found = result.identification
        axes.plot(
            OPEN_RATES,
            [point.tpir for point in found.mean_points],
            linestyle=_STYLES[number // 10 % len(_STYLES)],
            linewidth=1.6,
            label=f"{result.mode}: rank 1 {100 * found.mean_rank_rates[0]:.2f} %",
        )
    _finish(figure, axes, handle, OPEN_RATES[0], OPEN_RATES[-1])


def _figure(title: str, across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log")
    axes.set(title=title, xlabel=across, ylabel=up)
    return figure, axes


def _finish(figure: Figure, axes: Axes, handle: IO[bytes], left: float, right: float) -> None:
    heights = np.concatenate([line.get_ydata() for line in axes.get_lines()]).astype(float)
    heights = heights[np.isfinite(heights)]
    bottom = max(0.0, np.floor(10 * heights.min(initial=1.0) - 0.5) / 10)
    axes.set(xlim=(left, right), ylim=(bottom, 1 + 0.02 * (1 - bottom)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="best", fontsize="small", framealpha=0.9)
    figure.savefig(handle, format="png")
