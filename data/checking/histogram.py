"""Draw the number of images per person as one PNG, with matplotlib but without pyplot or a display."""

from __future__ import annotations

from typing import IO

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from common.wording import counted

_BARS = 40
_COLOUR = "#3b6ea5"


def draw_images_per_person(handle: IO[bytes], counts: np.ndarray, name: str) -> None:
    """Write a PNG of 1200 x 750 pixels to ``handle``.

    Args:
        handle: where the PNG goes.
        counts: int64 [P], images of each person, at least one.
        name: the set, for the title.
    """
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.hist(counts, bins=count_bins(counts), color=_COLOUR, edgecolor="white", linewidth=0.5)
    spread = f"{counts.min()} to {counts.max()} each, median {np.median(counts):g}"
    shown = name.encode("utf-8", "backslashreplace").decode().replace("$", r"\$")  # two dollars would mean a formula
    axes.set(
        title=f"{shown}: {counted(counts.sum(), 'image')} of {counted(len(counts), 'person', 'people')}, {spread}",
        xlabel="Images of a person",
        ylabel="People",
        xlim=(0, counts.max() * 1.05 + 1),
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(handle, format="png")


def count_bins(counts: np.ndarray) -> np.ndarray:
    """Return the edges of at most 40 bars of equal width, each with whole numbers around its middle."""
    low, high = int(counts.min()), int(counts.max())
    width = -(-(high - low + 1) // _BARS)
    return np.arange(low, high + width + 1, width) - 0.5
