"""Take the threshold that says "one person" from the report of a verification."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from common.errors import UserError, lookup, require
from common.json_text import parse_json
from evaluation.similarity import cosine_of_distance

REPORT_FILE = "report.json"


@dataclass(frozen=True)
class ReportThreshold:
    """A threshold and its origin.

    Attributes:
        cosine: pairs with a larger cosine similarity are one person.
        origin: report, set and false accept rate, for a message.
    """

    cosine: float
    origin: str


def read_threshold(
    path: str | Path,
    mirrored: bool,
    set_name: str = "",
    far: float | None = None,
    model: Mapping[str, Any] = MappingProxyType({}),
) -> ReportThreshold:
    """Read a threshold from the report of ``insightface_val.py --report``.

    Args:
        path: the folder of the report, or report.json itself.
        mirrored: for which embedding it must hold: f(image) + f(mirrored image), or f(image).
        set_name: the verification set; empty: the only one of the report.
        far: the false accept rate; None: the smallest that the set could measure or, if it is too small for any, the
            threshold of the best accuracy, which holds for the sum with the mirrored image.
        model: facts about the model, with ``checksum`` and perhaps ``exported_from``; a report of another model is
            refused. Empty: any model.

    Raises:
        UserError: the report is missing, damaged, or of another model, or has no such threshold.
    """
    path = Path(path)
    path = path / REPORT_FILE if path.is_dir() else path
    require(path.is_file(), f"--report {path} does not exist; write it with insightface_val.py --report DIR")
    try:
        report = parse_json(path.read_text())
        sets, about = report["sets"], report["about"]
        if len(sets) > 1 and not set_name:
            raise UserError(f"{path} has the sets {', '.join(sets)}; choose one with --set")
        name = set_name or next(iter(sets))
        chosen = lookup(sets, name, f"set of {path}")
        thresholds = [each for each in chosen["thresholds"] if each["mirrored"] == mirrored]
        measured = [each for each in thresholds if each["cosine"] is not None]
        if model and not _checksums(model) & _checksums(about):
            raise UserError(f"{path} is the report of another model, {about.get('model')}; verify this one, or omit it")
        return _choose(path, name, chosen, measured, mirrored, far)
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise UserError(f"{path} is damaged or not a report with thresholds; verify the model again") from error


def _checksums(model: Mapping[str, Any]) -> set[str]:
    """Return the checksum of a model's file, and of the snapshot that it was exported from."""
    return {model[key] for key in ("checksum", "exported_from") if model.get(key)}


def _choose(
    path: Path,
    name: str,
    chosen: Mapping[str, Any],
    measured: list[Mapping[str, Any]],
    mirrored: bool,
    far: float | None,
) -> ReportThreshold:
    fits = [each for each in measured if far is None or math.isclose(each["far_target"], far)]
    if fits:
        best = min(fits, key=lambda each: each["far_target"])
        low, high = best["cosine_interval"]
        rate = f"FAR {best['far_target']:g}, 95 % interval {low:.4f} to {high:.4f}"
        return ReportThreshold(best["cosine"], f"{path}: set {name}, {rate}")
    if far is None and mirrored:
        return ReportThreshold(
            cosine_of_distance(chosen["threshold"]),
            f"{path}: set {name}, best accuracy; its {chosen['pairs']} pairs are too few for a false accept rate",
        )
    embedding = "with" if mirrored else "without"
    known = ", ".join(f"{each['far_target']:g}" for each in measured) or "none"
    wanted = "a false accept rate" if far is None else f"FAR {far:g}"
    raise UserError(
        f"{path}: set {name} has no threshold for {wanted} {embedding} the mirrored image (it has: {known}); verify "
        "with --far_targets, on a set with more pairs of different people"
    )
