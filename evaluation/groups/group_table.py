"""Write a comparison of groups: tables for the console, and JSON."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from evaluation.groups.pair_groups import GroupReport, error_ratio, spread
from evaluation.report_form import align_columns, to_json
from evaluation.text_table import percent


def format_groups(report: GroupReport) -> str:
    """Return the tables: a row for each group and the spread between groups, then false accepts between groups."""
    heading = ["group", "same", "different", "accuracy %"]
    for rates in report.rates:
        heading += [f"TAR % at FAR {rates.threshold.far_target:g}", "its FAR %"]
    rows = [heading]
    for number, group in enumerate(report.groups):
        row = [group, str(report.same[number]), str(report.different[number]), percent(report.accuracy[number])]
        for rates in report.rates:
            row += [percent(rates.tar[number]), percent(rates.far[number, number], 3)]
        rows.append(row)
    columns = [report.accuracy]
    for rates in report.rates:
        columns += [rates.tar, np.diag(rates.far)]
    digits = [2, *[2, 3] * len(report.rates)]
    for place, name in enumerate(("largest difference", "standard deviation")):
        cells = [percent(spread(column)[place], digit) for column, digit in zip(columns, digits, strict=True)]
        rows.append([name, "", "", *cells])
    parts = [align_columns(rows), f"largest error / smallest error: {error_ratio(report.accuracy):.2f}"]
    for rates in report.rates:
        threshold = rates.threshold
        title = (
            f"false accepts between groups at one threshold, cosine {threshold.cosine:.4f} (FAR "
            f"{threshold.far_target:g} of all pairs together), %"
        )
        rows = [["", *report.groups]]
        for group, line in zip(report.groups, rates.far, strict=True):
            rows.append([group, *(percent(rate, 3) for rate in line)])
        parts.append(f"{title}\n{align_columns(rows)}")
    if report.mixed_same:
        parts.append(f"{report.mixed_same} pairs of one person are in two groups and count in no row")
    return "\n".join(parts)


def describe_groups(report: GroupReport) -> dict[str, Any]:
    """Return the numbers for JSON; those that could not be measured are null.

    The keys: ``groups`` {name: same, different, accuracy}, ``spread`` of the accuracy (difference, std, error_ratio),
    and ``rates``, for each common threshold: far_target, distance, cosine, ``tar`` and ``false_accepts``, ``compared``,
    ``far`` as {group: value} and {group: {group: value}}, and the spread of TAR and of FAR within groups.
    """
    names = report.groups

    def by_group(values: np.ndarray) -> dict[str, Any]:
        return {name: by_group(value) if np.ndim(value) else value for name, value in zip(names, values, strict=True)}

    def spread_of(values: np.ndarray) -> dict[str, float]:
        return dict(zip(("difference", "std"), spread(values), strict=True))

    return to_json(
        {
            "groups": {
                name: {
                    "same": report.same[number],
                    "different": report.different[number],
                    "accuracy": report.accuracy[number],
                }
                for number, name in enumerate(names)
            },
            "spread": {**spread_of(report.accuracy), "error_ratio": error_ratio(report.accuracy)},
            "same_pairs_in_two_groups": report.mixed_same,
            "rates": [
                {
                    "far_target": rates.threshold.far_target,
                    "mirrored": rates.threshold.mirrored,
                    "distance": rates.threshold.distance,
                    "cosine": rates.threshold.cosine,
                    "tar": by_group(rates.tar),
                    "tar_spread": spread_of(rates.tar),
                    "far": by_group(rates.far),
                    "far_spread": spread_of(np.diag(rates.far)),
                    "false_accepts": by_group(rates.false_accepts),
                    "compared": by_group(rates.compared),
                }
                for rates in report.rates
            ],
        }
    )


def outcome_lines(report: GroupReport) -> list[str]:
    """Return a line for each group and one for the spread, for the log of a training."""
    rows = [[f"{name}: accuracy {report.accuracy[number]:.5f}"] for number, name in enumerate(report.groups)]
    rows.append([f"largest difference: accuracy {spread(report.accuracy)[0]:.5f}"])
    for rates in report.rates:
        tars = [*rates.tar, spread(rates.tar)[0]]
        for row, tar in zip(rows, tars, strict=True):
            row.append(f"TAR@FAR={rates.threshold.far_target:g} {tar:.5f}")
    return [", ".join(row) for row in rows]


def outcome_numbers(report: GroupReport) -> dict[str, float]:
    """Return the numbers of each group and the spread, for the metrics of a training, by name."""
    tags = [re.sub(r"[^\w.-]", "_", name) for name in report.groups]
    columns = {"accuracy": report.accuracy}
    for rates in report.rates:
        columns[f"tar_at_far_{rates.threshold.far_target:g}"] = rates.tar
        columns[f"far_at_far_{rates.threshold.far_target:g}"] = np.diag(rates.far)
    numbers = {}
    for kind, values in columns.items():
        difference, deviation = spread(values)
        numbers |= {f"{kind}_difference": difference, f"{kind}_std": deviation}
        numbers |= {f"{kind}_{tag}": value for tag, value in zip(tags, values.tolist(), strict=True)}
    return numbers
