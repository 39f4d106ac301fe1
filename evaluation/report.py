"""Write verification results: ``report.json``, pictures of ROC curves and pairs, and a table for the console."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import atomic_file
from evaluation.pair_sheet import FacePairs, draw_pairs
from evaluation.roc_picture import draw_roc
from evaluation.verification import FAR_TARGET, VerificationResult


def write_report(
    directory: str | Path,
    results: Sequence[VerificationResult],
    speed: Mapping[str, float],
    about: Mapping[str, Any],
    sets: Sequence[FacePairs] = (),
) -> None:
    """Write ``report.json``, ``roc.png`` and ``pairs.png`` into ``directory``, created if missing; replace what exists.

    ``pairs.png`` shows some pairs of each set with their similarity. It needs ``sets``, the images of the results'
    pairs in the same order.

    ``report.json`` has three keys; numbers that could not be measured are null::

        about        the caller's description of the model and the run
        far_target   the FAR that the VAL threshold aims at, 0.001
        sets         {set name: {
            pairs              number of pairs
            accuracy           mean over the test folds, 0 to 1
            accuracy_std       population standard deviation over the test folds
            fold_accuracies    the accuracy of each test fold, in file order
            threshold          mean of the folds' thresholds, squared L2 distance of unit vectors, 0 to 4
            xnorm              mean L2 norm of the raw embeddings, plain and mirrored
            val                share of same pairs accepted at the threshold aimed at far_target, mean over test folds
            val_std            its population standard deviation
            far                the false accept rate measured at that threshold, mean over the test folds
            auc                area under the ROC curve of all pairs
            eer                equal error rate of all pairs, 0 to 1
            images_per_second  speed[set name], null if not given
        }}, in the order of ``results``

    Raises:
        UserError: there are no results, or two have the same name.
    """
    _check_names(results)
    numbers = {result.name: {**_numbers(result), "images_per_second": speed.get(result.name)} for result in results}
    report = _to_json({"about": about, "far_target": FAR_TARGET, "sets": numbers})
    directory = Path(directory)
    with atomic_file(directory / "report.json", "w") as handle:
        json.dump(report, handle, indent=2, allow_nan=False)
        handle.write("\n")
    with atomic_file(directory / "roc.png") as handle:
        draw_roc(handle, results)
    if sets:
        with atomic_file(directory / "pairs.png") as handle:
            draw_pairs(handle, results, sets)


def format_table(results: Sequence[VerificationResult]) -> str:
    """Return the results as an aligned table: one line of headings, one line per set, no final newline.

    Rates are in percent; a number that could not be measured is shown as ``-``.
    """
    val_heading = f"VAL % (at FAR {100 * FAR_TARGET:g} %)"
    rows = [("set", "pairs", "accuracy %", "XNorm", val_heading, "FAR %", "threshold", "AUC", "EER %")]
    for result in results:
        rows.append(
            (
                result.name,
                str(result.pairs),
                _number_and_std(100 * result.accuracy, 100 * result.accuracy_std, 3),
                _number(result.xnorm, 3),
                _number_and_std(100 * result.val, 100 * result.val_std, 2),
                _number(100 * result.far, 3),
                _number(result.threshold, 3),
                _number(result.auc, 5),
                _number(100 * result.eer, 2),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers in rows:
        cells = [name.ljust(widths[0])]
        cells += [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _check_names(results: Sequence[VerificationResult]) -> None:
    names = [result.name for result in results]
    if not names:
        raise UserError("no verification result to report; give at least one set")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"verification sets {', '.join(twice)} occur more than once; give each set a unique name")


def _numbers(result: VerificationResult) -> dict[str, Any]:
    return {
        "pairs": result.pairs,
        "accuracy": result.accuracy,
        "accuracy_std": result.accuracy_std,
        "fold_accuracies": result.fold_accuracies,
        "threshold": result.threshold,
        "xnorm": result.xnorm,
        "val": result.val,
        "val_std": result.val_std,
        "far": result.far,
        "auc": result.auc,
        "eer": result.eer,
    }


def _to_json(value: Any) -> Any:
    """Return ``value`` in JSON's own types: arrays as lists, numpy scalars as numbers, NaN and Inf as null."""
    if isinstance(value, Mapping):
        return {str(key): _to_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _to_json(value.tolist())
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def _number_and_std(value: float, std: float, digits: int) -> str:
    return f"{value:.{digits}f} +- {std:.{digits}f}" if math.isfinite(value) else "-"
