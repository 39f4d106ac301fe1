"""The contestants of the loader benchmark, the cores of each, and the rows of its table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from typing_extensions import override

from benchmarks.contestants import Contestant
from benchmarks.measures import consensus_index, relative_difference
from benchmarks.rounds import Measured
from benchmarks.worker import Worker, WorkerError

PEERS = ("oneflow", "mxnet")
DECODER, OURS = "decoder", "ours"
HEADER = ("", "cores", "images/s", "images/cpu s", "of decoder", "ours / it")
# Shuffling readers may deliver some images twice before others once, and decoders may round differently.
_TOLERANCE = 0.02


@dataclass(frozen=True)
class PinnedContestant(Contestant):
    """A contestant restricted to the first ``cores`` cores."""

    cores: int = 1

    @override
    def start(self, job: Mapping[str, Any], log: Path) -> Worker:
        allowed = os.sched_getaffinity(0)
        if len(allowed) < self.cores:
            raise WorkerError(f"it needs {self.cores} cores, but only {len(allowed)} are available")
        os.sched_setaffinity(0, sorted(allowed)[: self.cores])  # threads and processes inherit it
        try:
            return super().start({**job, "threads": self.cores}, log)
        finally:
            os.sched_setaffinity(0, allowed)


def list_contestants(workers: Sequence[int], peers: Sequence[str]) -> list[PinnedContestant]:
    """Return the bare decoder, our loader with each number of workers, and the peers on the same numbers of cores."""
    cores = sorted({max(1, count) for count in workers})

    def make(name: str, program: str, cores: int, **options: int) -> PinnedContestant:
        return PinnedContestant(name, program, "uint8", options=options, cores=cores)

    chosen = [make(DECODER, "decoder_worker", count) for count in cores]
    chosen += [make(OURS, "loader_worker", max(1, count), workers=count) for count in workers]
    if "oneflow" in peers:
        chosen += [make("oneflow", "oneflow_reader_worker", 1)]
    if "mxnet" in peers:
        chosen += [make("mxnet", "mxnet_reader_worker", count, preprocess_threads=count) for count in cores]
    return chosen


@dataclass(frozen=True)
class LoaderRow:
    """One line of the table.

    Attributes:
        label: name of the reader.
        cores: cores it could use.
        images_per_second: in wall time, median of the rounds.
        images_per_cpu_second: in processor time, median of the rounds; independent of the machine's other load.
        of_decoder: images per processor second over those of the bare decoder on the same cores, median of the rounds.
        ours_over_it: images per processor second of our loader over those of this one, on the same cores (with the
            faster number of workers), median of the rounds.
        failure: why there are no numbers, or why they are not comparable.
    """

    label: str
    cores: int
    images_per_second: float = 0.0
    images_per_cpu_second: float = 0.0
    of_decoder: float = 0.0
    ours_over_it: float = 0.0
    failure: str = ""


def make_rows(measured: Sequence[Measured], batch: int) -> list[LoaderRow]:
    """Return a row for each contestant; ratios are taken within a round, so that the machine's load cancels out."""
    mark_outliers(measured)
    complete = [entry for entry in measured if not entry.failure]
    decoders = {entry.contestant.cores: entry for entry in complete if entry.contestant.name == DECODER}
    ours: dict[int, Measured] = {}
    for entry in complete:
        best = ours.get(entry.contestant.cores)
        if entry.contestant.name == OURS and (best is None or median(cpu_times(entry)) < median(cpu_times(best))):
            ours[entry.contestant.cores] = entry
    rows = []
    for entry in measured:
        cores, name = entry.contestant.cores, entry.label or entry.contestant.name
        if entry.failure:
            rows.append(LoaderRow(name, cores, failure=entry.failure))
            continue
        of_decoder = _ratio(decoders.get(cores), entry)
        ours_over_it = 1 / _ratio(ours[cores], entry) if cores in ours else 0.0
        speeds = (batch / median(times) for times in (clock_times(entry), cpu_times(entry)))
        rows.append(LoaderRow(name, cores, *speeds, of_decoder, ours_over_it))
    return rows


def clock_times(entry: Measured) -> list[float]:
    """Return the wall seconds per batch of each round; they alternate with the processor seconds in ``times``."""
    return entry.times[::2]


def cpu_times(entry: Measured) -> list[float]:
    """Return the processor seconds per batch of each round."""
    return entry.times[1::2]


def mark_outliers(measured: Sequence[Measured]) -> None:
    """Mark contestants as failed if their mean pixel differs from the others': their speed is not comparable."""
    complete = [entry for entry in measured if not entry.failure]
    if not complete:
        return
    reference = complete[consensus_index([entry.results for entry in complete])].results
    for entry in complete:
        difference = relative_difference(entry.results, reference)
        if difference > _TOLERANCE:
            entry.failure = f"its mean pixel differs from the others' by {difference:.1%}"


def row_cells(row: LoaderRow) -> list[str]:
    """Return a row as text, in the order of ``HEADER``."""
    if row.failure:
        return [row.label, str(row.cores), "-", "-", "-", "-"]
    ratios = ("-" if ratio == 0 else f"{ratio:.2f}" for ratio in (row.of_decoder, row.ours_over_it))
    return [row.label, str(row.cores), f"{row.images_per_second:.0f}", f"{row.images_per_cpu_second:.0f}", *ratios]


def _ratio(reference: Measured | None, entry: Measured) -> float:
    """Return the entry's speed over the reference's, 0 without a reference."""
    if reference is None:
        return 0.0
    return median(a / b for a, b in zip(cpu_times(reference), cpu_times(entry), strict=True))
