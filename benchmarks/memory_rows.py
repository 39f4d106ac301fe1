"""Turn measured memory into the rows of a table: peak, ratio to PyTorch's best, speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measures import images_per_second
from benchmarks.rounds import Measured
from benchmarks.rows import TOLERANCES, Absence, compare_results, format_speed

REFERENCE = "torch"  # in float32: every peak is divided by the smallest one of these names


@dataclass(frozen=True)
class MemoryRow:
    """One line of a table.

    Attributes:
        name: the contestant's name on the command line.
        about: precision and, if there is a choice, memory format or kernels.
        label: framework and version.
        peak_bytes: the largest resident memory of the process.
        ratio: the peak over the smallest of PyTorch in float32; None without PyTorch.
        images_per_second: median of the steps.
        largest_batch: the largest batch that was found to fit the limit; 0 if none was looked for or found.
        largest_peak: the peak with that batch.
    """

    name: str
    about: str
    label: str
    peak_bytes: int
    ratio: float | None
    images_per_second: float
    largest_batch: int = 0
    largest_peak: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """What tells the contestants apart."""
        return self.name, self.about


def make_memory_rows(measured: Sequence[Measured], batch: int) -> tuple[list[MemoryRow], list[Absence]]:
    """Return the rows, of one name the one with the smallest peak, and the absent contestants with the reason."""
    best: dict[str, Measured] = {}
    absences = []
    for entry, difference in zip(measured, compare_results(measured), strict=True):
        contestant, reason = entry.contestant, entry.failure
        if not reason and difference is not None and difference > TOLERANCES[contestant.precision]:
            reason = f"its results differ from the others' by {difference:.1e}"
        if reason:
            absences.append(Absence(contestant.name, contestant.about, reason))
        elif contestant.name not in best or entry.peak_bytes < best[contestant.name].peak_bytes:
            best[contestant.name] = entry
    peers = [
        entry.peak_bytes
        for name, entry in best.items()
        if name.startswith(REFERENCE) and entry.contestant.precision == "float32"
    ]
    rows = [
        MemoryRow(
            name,
            entry.contestant.about,
            entry.label,
            entry.peak_bytes,
            entry.peak_bytes / min(peers) if peers else None,
            images_per_second(batch, entry.times),
        )
        for name, entry in best.items()
    ]
    return rows, absences


def memory_cells(row: MemoryRow) -> list[str]:
    """Return a row as text, in the order of ``HEADER``."""
    return [
        row.label,
        row.about,
        f"{row.peak_bytes / 1e6:.0f}",
        "-" if row.ratio is None else f"{row.ratio:.2f}",
        format_speed(row.images_per_second),
        f"{row.largest_batch} ({row.largest_peak / 1e6:.0f} MB)" if row.largest_batch else "-",
    ]


HEADER = ("", "precision", "peak MB", "of PyTorch f32", "images/s", "largest batch")
