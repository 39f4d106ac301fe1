"""Write results of MegaFace: the lines that people look for, JSON in the keys of the development kit, pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from common.files import atomic_file
from evaluation.megaface.protocol import FAR_TARGETS, MegafaceResult

FULL_RANKS = 1000  # ranks that JSON lists one by one


def result_lines(result: MegafaceResult, far_targets: Sequence[float] = FAR_TARGETS) -> list[str]:
    """Return the lines for one number of distractors, the first ones in the words of the development kit."""
    lines = [
        f"Computing test results with {result.distractors} images for set 1",
        f"Loaded {result.probes} probes spanning {result.people} classes",
        f"distractor score matrix size: {result.probes} {result.distractors}",
        f"Allocating ranks ({result.distractors + result.people})",
        *(f"Rank {k}: {result.rank(k):g}" for k in (1, 10, 100) if k <= result.distractors),
    ]
    for target in far_targets:
        tar, threshold = result.tar_at(target)
        if math.isfinite(tar):
            where = f"cosine {threshold:.5f}" if math.isfinite(threshold) else "no threshold is high enough"
            lines.append(f"TAR at FAR {target:g}: {tar:.6f} ({where})")
    return lines


def devkit_numbers(result: MegafaceResult) -> dict[str, Any]:
    """Return ``cmc`` and ``roc`` as the development kit's result files have them.

    ``cmc`` holds ranks, counted from 0, and shares: the first 1000 ranks, then those where the share changes, and the
    last. ``roc`` holds false and true accept rates, ascending: the points where one of them changes.
    """
    last = result.distractors + result.people
    ranks, shares = result.cmc()
    listed = np.unique(np.concatenate([np.arange(1, min(FULL_RANKS, last) + 1), ranks, [last]]))
    at = shares[np.searchsorted(ranks, listed, side="right") - 1]
    changes = np.flatnonzero(np.diff(result.far, prepend=-1) + np.diff(result.tar, prepend=-1))
    return {
        "cmc": [(listed - 1).tolist(), at.tolist()],
        "roc": [result.far[changes].tolist(), result.tar[changes].tolist()],
    }


def write_results(
    directory: str | Path, algo: str, results: Sequence[MegafaceResult], about: Mapping[str, Any]
) -> list[Path]:
    """Write ``cmc_facescrub_megaface_ALGO_SIZE_1.json`` of each result, ``megaface.json``, ``cmc.png``, ``roc.png``.

    ``megaface.json`` has ``about`` and ``results``, a list of ``distractors``, ``people``, ``probes``, ``pairs``,
    ``rank`` (k to share) and ``tar_at_far`` (FAR to TAR and threshold, null if it cannot be measured).

    Returns:
        The files.

    Raises:
        UserError: a file cannot be written.
    """
    directory = Path(directory)
    written = []
    for result in results:
        path = directory / f"cmc_facescrub_megaface_{algo}_{result.distractors}_1.json"
        _write_json(path, devkit_numbers(result))
        written.append(path)
    summary = directory / "megaface.json"
    _write_json(summary, {"about": about, "results": [_summary(result) for result in results]}, indent=2)
    for name, draw in (("cmc.png", draw_cmc), ("roc.png", draw_roc)):
        with atomic_file(directory / name) as handle:
            draw(handle, results)
        written.append(directory / name)
    return [*written, summary]


def draw_cmc(handle: IO[bytes], results: Sequence[MegafaceResult]) -> None:
    """Write a PNG with the share of pairs found among the k nearest, over k (logarithmic)."""
    figure, axes = _axes("Identification among distractors", "rank", "share of pairs found")
    for result in results:
        ranks, shares = result.cmc()
        ranks = np.append(ranks, result.distractors + result.people)
        axes.plot(
            ranks, np.append(shares, shares[-1]), drawstyle="steps-post", label=f"{result.distractors:,} distractors"
        )
    _save(handle, figure, axes, min(result.rank(1) for result in results))


def draw_roc(handle: IO[bytes], results: Sequence[MegafaceResult]) -> None:
    """Write a PNG of the true accept rate over the false accept rate (logarithmic)."""
    figure, axes = _axes("Verification, distractors as impostors", "false accept rate", "true accept rate")
    lowest = 1.0
    for result in results:
        seen = result.far > 0
        if seen.any():
            lowest = min(lowest, result.tar[seen][0])
            axes.plot(
                result.far[seen], result.tar[seen], drawstyle="steps-post", label=f"{result.distractors:,} distractors"
            )
    axes.set_xlim(right=1)
    _save(handle, figure, axes, lowest)


def _axes(title: str, x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(8, 5.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log")
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(handle: IO[bytes], figure: Figure, axes: Any, lowest: float) -> None:
    """Write the picture; its vertical axis shows rates from somewhat below ``lowest`` to 1."""
    bottom = max(0.0, np.floor(10 * lowest - 0.5) / 10)
    axes.set_ylim(bottom, 1 + 0.02 * (1 - bottom))
    if axes.lines:
        axes.legend(fontsize="small")
    figure.savefig(handle, format="png")


def _summary(result: MegafaceResult) -> dict[str, Any]:
    rates = {}
    for target in FAR_TARGETS:
        tar, threshold = (value if math.isfinite(value) else None for value in result.tar_at(target))
        rates[f"{target:g}"] = {"tar": tar, "threshold": threshold}
    return {
        "distractors": result.distractors,
        "people": result.people,
        "probes": result.probes,
        "pairs": len(result.ranks),
        "rank": {str(k): result.rank(k) for k in (1, 5, 10, 100) if k <= result.distractors},
        "tar_at_far": rates,
    }


def _write_json(path: Path, content: Mapping[str, Any], indent: int | None = None) -> None:
    with atomic_file(path, "w") as handle:
        json.dump(content, handle, indent=indent, allow_nan=False)
        handle.write("\n")
