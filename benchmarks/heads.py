"""Who takes part in the benchmark of the head, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.contestants import PEERS_PYTHON, Contestant
from benchmarks.rounds import Measured

OURS, LIMIT = "ours", "limit"
_SPARE, _PROCESS = 1.05, 10**9  # what else a contestant takes
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
        name: how the command line chooses the contestant.
        label: framework and version.
        seconds: median of all steps.
        quartiles: between them lies the middle half of the steps.
        ratio: our speed over this one; None without ours.
        to_limit: its time over that of the bare arithmetic; None if that was not measured.
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
    """Return what a rank receives in a step: embeddings, their gradient, labels and slots, softmax, all of batch size.

    Rows and their gradients are not among it, so it does not depend on the number of classes.
    """
    others = batch * (ranks - 1) // ranks
    embeddings_and_gradient = 2 * others * emb_size * 4
    labels_and_slots = others * 4 + (ranks - 1) * batch * 4
    largest_target_best_and_sum = 4 * (ranks - 1) * batch * 4
    return embeddings_and_gradient + labels_and_slots + largest_target_best_and_sum


def needed_bytes(job: Mapping[str, Any]) -> int:
    """Return what rows, momentum and the gradient of a step take on all ranks together."""
    return int((2 + job["sample_ratio"]) * job["num_classes"] * job["emb_size"] * 4)


def fit_memory(contestants: Sequence[Contestant], job: dict[str, Any], free: int) -> tuple[list[Contestant], list[str]]:
    """Return who can take part with ``free`` bytes, and what is to be said of it.

    Where Partial FC does not fit we keep the rows in mapped files (which ``job`` then says), and the others stay away.
    """
    if needed_bytes(job) * _SPARE + _PROCESS < free:
        return list(contestants), []
    reason = f"rows and momentum need {needed_bytes(job) / 1e9:.1f} GB and {free / 1e9:.1f} GB are free"
    if job["sample_ratio"] == 1:
        return [], [f"nobody is measured: {reason}"]
    job["storage"] = "mmap"
    absent = [f"not measured: {contestant.name}: {reason}" for contestant in contestants if contestant.name != OURS]
    ours = [contestant for contestant in contestants if contestant.name == OURS]
    return ours, [f"ours in mapped files: {reason}", *absent]


def make_rows(measured: Sequence[Measured]) -> list[Row]:
    """Return a row for everybody who took part."""
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
