"""Draw histograms of the similarity of pairs as one PNG, with matplotlib but without pyplot or a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

import numpy as np

from evaluation.similarity import cosine_of_distance
from evaluation.verification import VerificationResult

BINS = 80
SAME, DIFFERENT = "#1f77b4", "#d62728"


def draw_histograms(handle: IO[bytes], results: Sequence[VerificationResult], labels: Sequence[np.ndarray]) -> None:
    """Write a PNG to ``handle``: for each set the cosine similarities of pairs of one person and of two.

    Each kind is scaled to an area of 1. A line marks the threshold of the accuracy.

    Args:
        handle: where the PNG goes.
        results: the results.
        labels: bool [N] of each result, whether the pairs show one person.
    """
    # Here, because it takes a quarter of a second, and most verifications draw nothing.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.6 + 2.4 * len(results)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(results), 1, squeeze=False)[:, 0]
    for axis, result, issame in zip(axes, results, labels, strict=True):
        cosines = cosine_of_distance(result.distances)
        edges = np.linspace(cosines.min() - 1e-3, cosines.max() + 1e-3, BINS + 1)
        for kind, colour, name in ((issame, SAME, "same person"), (~issame, DIFFERENT, "different people")):
            if kind.any():
                label = f"{name}: {np.count_nonzero(kind)} pairs"
                axis.hist(cosines[kind], edges, density=True, color=colour, alpha=0.55, label=label)
        threshold = cosine_of_distance(result.threshold)
        axis.axvline(threshold, color="0.2", linewidth=1, linestyle="--", label=f"threshold {threshold:.3f}")
        axis.set(ylabel=result.name, xlim=(edges[0], edges[-1]), yticks=[])
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.legend(loc="best", fontsize="small", frameon=False)
    axes[-1].set_xlabel("cosine similarity")
    figure.savefig(handle, format="png")
