"""Write a comparison of models as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from typing import IO, Any

from evaluation.comparison.compare import Cell, Comparison, Measure
from evaluation.comparison.paired_bootstrap import SAMPLES, Difference
from evaluation.comparison.published import SOURCE
from evaluation.far_thresholds import CONFIDENCE
from evaluation.report_form import align_columns, to_json
from evaluation.text_table import markdown, percent

CSV_COLUMNS = ("measure", "set", "model", "value", "std", "best", "to_best", "to_best_low", "to_best_high", "origin")
NOTE = (
    f"In brackets the difference to the best model in points, with its {100 * CONFIDENCE:g} % interval (paired "
    "bootstrap). The best is marked by *."
)


def format_comparison(comparison: Comparison) -> str:
    """Return the tables for the console, no final newline."""
    parts = [
        f"{measure.name}, %\n{align_columns(_rows(comparison, measure, _plain))}" for measure in comparison.measures
    ]
    return "\n".join([*parts, NOTE, *_published_notes(comparison)])


def format_markdown(comparison: Comparison) -> str:
    """Return the tables as Markdown, with a final newline; the best values are bold."""
    parts = [
        f"## {measure.name[0].upper()}{measure.name[1:]}, %\n\n{markdown(_rows(comparison, measure, _bold))}\n"
        for measure in comparison.measures
    ]
    note = NOTE.replace("marked by *", "bold")
    return "\n".join(["# Comparison of models\n", *parts, note, *_published_notes(comparison)]) + "\n"


def write_csv(handle: IO[str], comparison: Comparison) -> None:
    """Write a line for each number, with all digits; shares are 0 to 1. ``origin`` is measured or published."""
    writer = csv.writer(handle, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for measure in comparison.measures:
        for name in comparison.sets:
            for model, cell in measure.cells[name].items():
                to_best = [cell.to_best.value, *cell.to_best.interval] if cell.to_best else ["", "", ""]
                numbers = [value if math.isfinite(value) else "" for value in (cell.value, cell.std)]
                writer.writerow([measure.name, name, model, *numbers, int(cell.is_best), *to_best, "measured"])
            for model, value in measure.published.get(name, {}).items():
                writer.writerow([measure.name, name, model, value, "", "", "", "", "", "published"])


def write_json(handle: IO[str], comparison: Comparison) -> None:
    """Write all numbers and the differences of all pairs of models.

    The keys: ``models``, ``sets``, ``confidence``, ``bootstrap_samples`` and ``measures``, for each its ``name``,
    ``values`` {set: {model: value, std, best}}, ``differences`` {set: [first, second, difference, interval, clear]} and
    ``published`` {set: {model: value}}. A difference is the value of ``first`` minus that of ``second``; it is clear if
    the interval excludes 0.
    """
    document = {
        "models": comparison.models,
        "sets": comparison.sets,
        "confidence": CONFIDENCE,
        "bootstrap_samples": SAMPLES,
        "measures": [_describe(measure) for measure in comparison.measures],
    }
    json.dump(to_json(document), handle, indent=2, allow_nan=False)
    handle.write("\n")


def _describe(measure: Measure) -> dict[str, Any]:
    return {
        "name": measure.name,
        "values": {
            name: {model: {"value": cell.value, "std": cell.std, "best": cell.is_best} for model, cell in cells.items()}
            for name, cells in measure.cells.items()
        },
        "differences": {
            name: [_describe_difference(*models, found) for models, found in differences.items()]
            for name, differences in measure.differences.items()
        },
        "published": measure.published,
    }


def _describe_difference(first: str, second: str, found: Difference) -> dict[str, Any]:
    return {
        "first": first,
        "second": second,
        "difference": found.value,
        "interval": found.interval,
        "clear": found.is_clear,
    }


def _rows(comparison: Comparison, measure: Measure, show: Callable[[Cell], str]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("model", *comparison.sets)]
    rows += [(model, *(show(measure.cells[name][model]) for name in comparison.sets)) for model in comparison.models]
    others = list(dict.fromkeys(model for values in measure.published.values() for model in values))
    for model in others:
        values = [measure.published.get(name, {}).get(model, float("nan")) for name in comparison.sets]
        rows.append((f"{model} (published)", *map(percent, values)))
    return rows


def _plain(cell: Cell) -> str:
    return f"{show_value(cell)}{' *' if cell.is_best else show_difference(cell)}"


def _bold(cell: Cell) -> str:
    return f"**{show_value(cell)}**" if cell.is_best else f"{show_value(cell)}{show_difference(cell)}"


def show_value(cell: Cell) -> str:
    """Return value and standard deviation in percent: ``99.78 +- 0.27``."""
    return f"{percent(cell.value)} +- {percent(cell.std)}" if math.isfinite(cell.std) else percent(cell.value)


def show_difference(cell: Cell) -> str:
    """Return the difference to the best in points, with its interval: `` (-0.20; -0.41 to 0.02)``; empty without."""
    if cell.to_best is None:
        return ""
    low, high = cell.to_best.interval
    return f" ({100 * cell.to_best.value:+.2f}; {100 * low:+.2f} to {100 * high:+.2f})"


def _published_notes(comparison: Comparison) -> list[str]:
    return [f"Published: {SOURCE}."] if any(measure.published for measure in comparison.measures) else []
