"""Turn measurements into the rows of a table: speed, ratio to ours, share of the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measures import consensus_index, images_per_second, relative_difference, speed_range
from benchmarks.rounds import Measured

# Largest relative distance of the first results from those that most contestants agree on.
TOLERANCES = {"float32": 0.01, "bfloat16": 0.2}
LIMIT = "limit"
OURS = {"float32": "f32", "bfloat16": "bf16"}  # the contestant that the others are compared with, by precision


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: the contestant's name on the command line.
        label: framework and version.
        about: precision and, if there is a choice, memory format or kernels.
        images_per_second: median of all steps.
        quartiles: first and third quartile of the steps' speeds.
        ratio: our speed over this one's in the same precision; None if ours was not measured.
        share: this speed over that of the convolutions alone in the same precision; None if those were not measured.
        best_share: the same of the shortest step and the convolutions' shortest measurement.
        difference: relative distance of the first results from those that most contestants agree on.
        steps: number of measured steps.
    """

    name: str
    label: str
    about: str
    images_per_second: float
    quartiles: tuple[float, float]
    ratio: float | None
    share: float | None
    best_share: float | None
    difference: float | None
    steps: int


@dataclass(frozen=True)
class Absence:
    """A contestant without a row, and the reason."""

    name: str
    about: str
    reason: str


def make_rows(measured: Sequence[Measured], batch: int) -> tuple[list[Row], list[Absence]]:
    """Return the rows, one per name (the fastest contestant), and the absent contestants.

    A contestant whose results differ from the others' is absent too, because its speed is not comparable.
    """
    differences = compare_results(measured)
    absences, fastest = [], {}
    for entry, difference in zip(measured, differences, strict=True):
        contestant = entry.contestant
        failure = entry.failure
        if not failure and difference is not None and difference > TOLERANCES[contestant.precision]:
            failure = f"its results differ from the others' by {difference:.1e}"
        if failure:
            absences.append(Absence(contestant.name, contestant.about, failure))
            continue
        speed = images_per_second(batch, entry.times)
        key = (contestant.name, contestant.precision)
        if key not in fastest or speed > fastest[key][0]:
            fastest[key] = (speed, entry, difference)
    speeds = {key: speed for key, (speed, _, _) in fastest.items()}
    shortest = {key: min(entry.times) for key, (_, entry, _) in fastest.items()}
    rows = []
    for (name, precision), (speed, entry, difference) in fastest.items():
        ours, limit = speeds.get((OURS[precision], precision)), speeds.get((LIMIT, precision))
        rows.append(
            Row(
                name,
                entry.label,
                entry.contestant.about,
                speed,
                speed_range(batch, entry.times),
                ours / speed if ours and name != LIMIT else None,
                speed / limit if limit else None,
                shortest[LIMIT, precision] / shortest[name, precision] if limit else None,
                difference,
                len(entry.times),
            )
        )
    return rows, absences


def describe_best(rows: Sequence[Row], family: str) -> list[str]:
    """Return a line for each precision: the fastest of the rows whose names begin with ``family``, and our ratio."""
    best: dict[str, Row] = {}
    for row in rows:
        precision = row.about.split(",")[0]
        if row.name.startswith(family) and row.images_per_second > getattr(best.get(precision), "images_per_second", 0):
            best[precision] = row
    return [
        f"best of {family} in {precision}: {row.name}, {format_speed(row.images_per_second)} images/s"
        + ("" if row.ratio is None else f", ours / it {row.ratio:.2f}")
        for precision, row in best.items()
    ]


def compare_results(measured: Sequence[Measured]) -> list[float | None]:
    """Return the distance of each contestant's results from the consensus in float32; None without results."""
    exact = [m.results for m in measured if m.results and m.contestant.precision == "float32"]
    if not exact:
        return [None] * len(measured)
    reference = exact[consensus_index(exact)]
    return [relative_difference(m.results, reference) if m.results else None for m in measured]


def row_cells(row: Row) -> list[str]:
    """Return a row as text, in the order of ``HEADER``."""
    low, high = row.quartiles
    return [
        row.label,
        row.about,
        format_speed(row.images_per_second),
        f"{format_speed(low)}-{format_speed(high)}",
        "-" if row.ratio is None else f"{row.ratio:.2f}",
        "-" if row.share is None else f"{row.share:.0%}",
        "-" if row.best_share is None else f"{row.best_share:.0%}",
        "-" if row.difference is None else f"{row.difference:.0e}",
    ]


HEADER = ("", "precision", "images/s", "middle half", "ours / it", "of limit", "at best", "difference")


def format_speed(value: float) -> str:
    """Return a speed with three significant digits."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
