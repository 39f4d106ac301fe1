"""The contestants of the head benchmark, and the rows of its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.contestants import PEERS_PYTHON, Contestant
from benchmarks.rounds import Measured

OURS, LIMIT = "ours", "limit"
ROW_BYTES = {"float32": 4, "bf16": 2}  # of a number, by the type of the rows
_SPARE, _PROCESS = 1.05, 10**9  # further memory of a contestant: a factor, and bytes
CONTESTANTS = (
    Contestant(OURS, "ours_head_worker", "float32"),
    Contestant("torch", "torch_head_worker", "float32", PEERS_PYTHON),
    Contestant(LIMIT, "limit_head_worker", "float32"),
)
HEADER = ("", "ms/step", "middle half", "ours / it", "to limit", "peak GB", "loss")


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: the contestant's name on the command line.
        label: framework and version.
        seconds: median of all steps.
        quartiles: first and third quartile of the steps.
        ratio: our speed over this one's; None if ours was not measured.
        to_limit: its time over that of the bare arithmetic; None if the latter was not measured.
        peak_bytes: the largest memory of rank 0.
        loss: of the first step; None for the bare arithmetic.
    """

    name: str
    label: str
    seconds: float
    quartiles: tuple[float, float]
    ratio: float | None
    to_limit: float | None
    peak_bytes: int
    loss: float | None


def communicated_bytes(ranks: int, batch: int, emb_size: int) -> int:
    """Return the bytes a rank receives per step: embeddings and their gradient, labels, slots, softmax statistics.

    All of them grow with the batch alone. Rows and their gradients stay on their rank.
    """
    others = batch * (ranks - 1) // ranks
    embeddings_and_gradient = 2 * others * emb_size * 4
    labels_and_slots = others * 4 + (ranks - 1) * batch * 4
    largest_target_best_and_sum = 4 * (ranks - 1) * batch * 4
    return embeddings_and_gradient + labels_and_slots + largest_target_best_and_sum


def needed_bytes(job: Mapping[str, Any]) -> int:
    """Return the bytes of rows, momentum and the float32 gradients of a step, over all ranks."""
    number = 2 * ROW_BYTES[job["row_dtype"]] + 4 * job["sample_ratio"]
    return int(number * job["num_classes"] * job["emb_size"])


def fit_memory(contestants: Sequence[Contestant], job: dict[str, Any], free: int) -> tuple[list[Contestant], list[str]]:
    """Return the contestants that fit into ``free`` bytes, and remarks to print.

    If Partial FC does not fit, our head keeps its rows in memory-mapped files (recorded in ``job``), and the others are
    omitted.
    """
    if needed_bytes(job) * _SPARE + _PROCESS < free:
        return list(contestants), []
    reason = f"rows and momentum need {needed_bytes(job) / 1e9:.1f} GB and {free / 1e9:.1f} GB are free"
    if job["sample_ratio"] == 1:
        return [], [f"no contestant is measured: {reason}"]
    job["storage"] = "mmap"
    absent = [f"not measured: {contestant.name}: {reason}" for contestant in contestants if contestant.name != OURS]
    ours = [contestant for contestant in contestants if contestant.name == OURS]
    return ours, [f"ours in mapped files: {reason}", *absent]


def make_rows(measured: Sequence[Measured]) -> list[Row]:
    """Return a row for each contestant that was measured."""
    seconds = {m.contestant.name: float(np.median(m.times)) for m in measured if not m.failure}
    rows = []
    for entry in measured:
        name = entry.contestant.name
        if entry.failure:
            continue
        own, limit = seconds.get(OURS), seconds.get(LIMIT)
        rows.append(
            Row(
                name,
                entry.label,
                seconds[name],
                tuple(np.percentile(entry.times, [25, 75])),
                seconds[name] / own if own and name != OURS else None,
                seconds[name] / limit if limit and name != LIMIT else None,
                entry.peak_bytes,
                entry.results[0] if entry.results else None,
            )
        )
    return rows


def row_cells(row: Row) -> list[str]:
    """Return a row as text, in the order of ``HEADER``."""
    low, high = row.quartiles
    return [
        row.label,
        f"{row.seconds * 1e3:.0f}",
        f"{low * 1e3:.0f}-{high * 1e3:.0f}",
        "-" if row.ratio is None else f"{row.ratio:.2f}",
        "-" if row.to_limit is None else f"{row.to_limit:.2f}",
        f"{row.peak_bytes / 1e9:.2f}",
        "-" if row.loss is None else f"{row.loss:.3f}",
    ]
