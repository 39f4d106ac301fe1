"""The results of bench_quality: means with intervals and paired differences, as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.intervals import Estimate, mean_interval, pair_interval, paired_interval
from benchmarks.report import format_table

HEADER = (
    "set",
    "recipe",
    "head",
    "rows",
    "ranks",
    "seeds",
    "accuracy %",
    "difference",
    "over pairs",
    "rank 1 %",
    "difference",
    "loss",
    "s",
)
NOTE = (
    "+-: 95 % interval over the seeds (Student's t; of differences paired by seed). over pairs: 95 % interval of the "
    "difference over resampled pairs (bootstrap). *: the interval excludes 0"
)

Results = Sequence[Mapping[str, Any]]


class Kind(NamedTuple):
    """What the trainings of one row have in common."""

    data: str
    recipe: str
    ratio: float
    row_dtype: str
    ranks: int

    @property
    def head(self) -> str:
        """Return the name of the head."""
        return "full" if self.ratio == 1 else f"Partial FC {self.ratio:g}"


@dataclass(frozen=True)
class Row:
    """The trainings of one kind, and their differences to a reference in the seeds that both have.

    Attributes:
        kind: the kind.
        reference: the kind that it is compared with; None for the reference itself.
        accuracies: of each seed.
        accuracy: their mean.
        rank_1: the mean rate of identification at rank 1.
        to_reference: the difference of accuracies, over the seeds.
        over_pairs: the same, over resampled pairs.
        rank_1_to_reference: the difference of the rates, over the seeds.
        loss: the mean of the last losses.
        seconds: the mean time of the steps of a training.
    """

    kind: Kind
    reference: Kind | None
    accuracies: tuple[float, ...]
    accuracy: Estimate
    rank_1: Estimate
    to_reference: Estimate | None
    over_pairs: Estimate | None
    rank_1_to_reference: Estimate | None
    loss: float
    seconds: float


def make_rows(results: Results, baseline: str) -> list[Row]:
    """Return a row for each kind of training, in the order of the results.

    Another recipe than ``baseline`` is compared with that recipe with the same head, rows and ranks; the baseline with
    other heads or rows with its own first head and rows, on as many ranks.
    """
    groups: dict[Kind, dict[str, Mapping[str, Any]]] = {}
    for each in results:
        kind = Kind(each["set"], each["recipe"], each["ratio"], each["row_dtype"], each["ranks"])
        groups.setdefault(kind, {})[each["seed"]] = each
    return [_make_row(kind, groups, baseline) for kind in groups]


def _reference(kind: Kind, kinds: Sequence[Kind], baseline: str) -> Kind | None:
    if kind.recipe != baseline:
        same = kind._replace(recipe=baseline)
        return same if same in kinds else None
    firsts = (each for each in kinds if (each.data, each.recipe, each.ranks) == (kind.data, baseline, kind.ranks))
    first = next(firsts)
    return None if first == kind else first


def _make_row(kind: Kind, groups: Mapping[Kind, Mapping[str, Mapping[str, Any]]], baseline: str) -> Row:
    own = groups[kind]
    reference = _reference(kind, list(groups), baseline)
    shared = [seed for seed in own if reference is not None and seed in groups[reference]]
    differences: list[Estimate | None] = [None, None, None]
    if shared:
        mine, theirs = ([group[seed] for seed in shared] for group in (own, groups[reference]))
        accuracy, rank_1 = (
            paired_interval([each[key] for each in mine], [each[key] for each in theirs])
            for key in ("accuracy", "rank_1")
        )
        right = [np.array([[mark == "1" for mark in each["right"]] for each in some]) for some in (mine, theirs)]
        differences = [accuracy, pair_interval(*right, mine[0]["folds"]), rank_1]
    accuracies = tuple(each["accuracy"] for each in own.values())
    return Row(
        kind,
        reference,
        accuracies,
        mean_interval(accuracies),
        mean_interval([each["rank_1"] for each in own.values()]),
        *differences,
        float(np.mean([each["losses"][-1] for each in own.values()])),
        float(np.mean([each["seconds"] for each in own.values()])),
    )


def show_mean(estimate: Estimate) -> str:
    """Return a share and its interval in percent: ``91.20 +- 0.55``."""
    half = estimate.high - estimate.mean
    return f"{100 * estimate.mean:.2f}" + ("" if math.isnan(half) else f" +- {100 * half:.2f}")


def show_difference(estimate: Estimate | None) -> str:
    """Return a difference of shares in points: ``+1.20 +- 0.55 *``; a star where the interval excludes 0."""
    if estimate is None:
        return ""
    half = estimate.high - estimate.mean
    shown = "" if math.isnan(half) else f" +- {100 * half:.2f}"
    return f"{100 * estimate.mean:+.2f}{shown}{' *' if estimate.is_clear else ''}"


def _show_range(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{100 * estimate.low:+.2f} to {100 * estimate.high:+.2f}{' *' if estimate.is_clear else ''}"


def format_rows(rows: Sequence[Row]) -> str:
    """Return the table."""
    cells = [
        [
            row.kind.data,
            row.kind.recipe,
            row.kind.head,
            row.kind.row_dtype,
            str(row.kind.ranks),
            str(len(row.accuracies)),
            show_mean(row.accuracy),
            show_difference(row.to_reference),
            _show_range(row.over_pairs),
            show_mean(row.rank_1),
            show_difference(row.rank_1_to_reference),
            f"{row.loss:.2f}",
            f"{row.seconds:.0f}",
        ]
        for row in rows
    ]
    return format_table(HEADER, cells, text_columns=4)
