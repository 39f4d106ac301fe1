"""Write verification results: ``report.json``, pictures of ROC curves and pairs, and a table for the console."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import atomic_file
from evaluation.far_thresholds import BOOTSTRAP_SAMPLES, CONFIDENCE, FarThreshold
from evaluation.pair_sheet import FacePairs, draw_pairs
from evaluation.report_form import align_columns, to_json
from evaluation.roc_picture import draw_roc
from evaluation.verification import FAR_TARGET, VerificationResult

MIRRORED, SINGLE = "image + mirrored image", "image alone"  # the embedding that a threshold holds for


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

    ``report.json`` has these keys; numbers that could not be measured are null::

        about        the caller's description of the model and the run
        far_target   the FAR that the VAL threshold aims at, 0.001
        confidence   of the intervals, 0.95; the share of bootstrap samples between the two ends
        bootstrap_samples
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
            thresholds         [{
                far_target         the wanted FAR
                mirrored           true: holds for f(image) + f(mirrored image), as all other numbers; false: f(image)
                distance           pairs with a smaller squared L2 distance of unit vectors are accepted
                distance_interval  [low, high]
                cosine             pairs with a larger cosine similarity are accepted
                cosine_interval    [low, high]
                far                the false accept rate measured at the threshold, at most far_target
                tar                share of same pairs accepted
                tar_interval       [low, high]
            }]
        }}, in the order of ``results``

    Raises:
        UserError: there are no results, or two have the same name.
    """
    _check_names(results)
    numbers = {
        result.name: {
            **_numbers(result),
            "images_per_second": speed.get(result.name),
            "thresholds": [_threshold_numbers(each) for each in result.thresholds],
        }
        for result in results
    }
    bootstrap = {"confidence": CONFIDENCE, "bootstrap_samples": BOOTSTRAP_SAMPLES}
    report = to_json({"about": about, "far_target": FAR_TARGET, **bootstrap, "sets": numbers})
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
    return align_columns(rows)


def format_thresholds(results: Sequence[VerificationResult]) -> str:
    """Return all thresholds as an aligned table with a heading, no final newline; empty without thresholds.

    A threshold that a set is too small to measure is shown as ``-``.
    """
    heading = ("set", "holds for", "FAR", "distance below", "or cosine above", "TAR %")
    rows = [
        (
            result.name,
            MIRRORED if each.mirrored else SINGLE,
            f"{each.far_target:g}",
            _number_and_range(each.distance, each.distance_interval, 3),
            _number_and_range(each.cosine, each.cosine_interval, 3),
            _number_and_range(100 * each.tar, tuple(100 * end for end in each.tar_interval), 2),
        )
        for result in results
        for each in result.thresholds
    ]
    if not rows:
        return ""
    title = f"thresholds for a false accept rate, with {100 * CONFIDENCE:g} % intervals (bootstrap)"
    return f"{title}\n{align_columns([heading, *rows])}"


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


def _threshold_numbers(threshold: FarThreshold) -> dict[str, Any]:
    return {
        "far_target": threshold.far_target,
        "mirrored": threshold.mirrored,
        "distance": threshold.distance,
        "distance_interval": threshold.distance_interval,
        "cosine": threshold.cosine,
        "cosine_interval": threshold.cosine_interval,
        "far": threshold.far,
        "tar": threshold.tar,
        "tar_interval": threshold.tar_interval,
    }


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def _number_and_std(value: float, std: float, digits: int) -> str:
    return f"{value:.{digits}f} +- {std:.{digits}f}" if math.isfinite(value) else "-"


def _number_and_range(value: float, interval: tuple[float, float], digits: int) -> str:
    low, high = interval
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})" if math.isfinite(value) else "-"
