"""Compare the results of several models on the same sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.errors import UserError
from evaluation.comparison.paired_bootstrap import Difference, difference, resample_accuracies, resample_tars
from evaluation.verification import VerificationResult

ACCURACY = "accuracy"


@dataclass(frozen=True)
class Cell:
    """One number of one model on one set.

    Attributes:
        value: 0 to 1, NaN if it was not measured.
        std: population standard deviation over the folds, NaN where there are no folds.
        is_best: whether no other model has a larger value.
        to_best: the difference to the best model; None for the best one, or where a value is missing.
    """

    value: float
    std: float
    is_best: bool
    to_best: Difference | None


@dataclass(frozen=True)
class Measure:
    """One kind of number, such as accuracy, of M models on S sets.

    Attributes:
        name: its name, ``accuracy`` or ``TAR at FAR 0.001``.
        cells: by set, then model.
        differences: by set, then (first, second): the value of the first model minus that of the second.
        published: by set, then name: values that others published.
    """

    name: str
    cells: Mapping[str, Mapping[str, Cell]]
    differences: Mapping[str, Mapping[tuple[str, str], Difference]]
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Models, sets and measures, in the order of the command line."""

    models: tuple[str, ...]
    sets: tuple[str, ...]
    measures: tuple[Measure, ...]


def compare_models(
    results: Mapping[str, Sequence[VerificationResult]],
    labels: Sequence[np.ndarray],
    far_targets: Sequence[float],
    published: Mapping[str, Mapping[str, float]] | None = None,
) -> Comparison:
    """Compare models on the same sets.

    Args:
        results: model -> its results, all of the same sets in the same order.
        labels: bool [N] of each set, whether its pairs show one person.
        far_targets: the false accept rates for TAR; those that no set can measure are left out.
        published: model -> set -> accuracy, to put beside.

    Raises:
        UserError: the models were verified on different sets, or a set occurs twice.
    """
    models = tuple(results)
    sets = tuple(result.name for result in results[models[0]])
    if any(tuple(result.name for result in each) != sets for each in results.values()) or len({*sets}) < len(sets):
        raise UserError("the models must be compared on the same sets, each once")
    by_set = {name: [results[model][place] for model in models] for place, name in enumerate(sets)}
    issame = dict(zip(sets, labels, strict=True))
    measures = [_compare_accuracy(models, by_set, issame, published or {})]
    for far_target in far_targets:
        measure = _compare_tar(models, by_set, issame, far_target)
        if any(np.isfinite(cell.value) for cells in measure.cells.values() for cell in cells.values()):
            measures.append(measure)
    return Comparison(models, sets, tuple(measures))


def _compare_accuracy(
    models: Sequence[str],
    by_set: Mapping[str, Sequence[VerificationResult]],
    issame: Mapping[str, np.ndarray],
    published: Mapping[str, Mapping[str, float]],
) -> Measure:
    cells, differences = {}, {}
    for name, results in by_set.items():
        correct = np.stack([(each.distances < each.pair_thresholds) == issame[name] for each in results])
        samples = resample_accuracies(correct, len(results[0].fold_thresholds))
        values, stds = (np.array([getattr(each, key) for each in results]) for key in ("accuracy", "accuracy_std"))
        cells[name], differences[name] = _compare(models, values, stds, samples)
    beside = {name: {model: values[name] for model, values in published.items() if name in values} for name in by_set}
    return Measure(ACCURACY, cells, differences, {name: values for name, values in beside.items() if values})


def _compare_tar(
    models: Sequence[str],
    by_set: Mapping[str, Sequence[VerificationResult]],
    issame: Mapping[str, np.ndarray],
    far_target: float,
) -> Measure:
    cells, differences = {}, {}
    for name, results in by_set.items():
        values = np.array([_tar(each, far_target) for each in results])
        samples = None
        if np.isfinite(values).all():
            samples = resample_tars(np.stack([each.distances for each in results]), issame[name], far_target)
        cells[name], differences[name] = _compare(models, values, np.full(len(models), np.nan), samples)
    return Measure(f"TAR at FAR {far_target:g}", cells, differences)


def _tar(result: VerificationResult, far_target: float) -> float:
    chosen = [each for each in result.thresholds if each.far_target == far_target and each.mirrored == result.mirrored]
    return chosen[0].tar if chosen else float("nan")


def _compare(
    models: Sequence[str], values: np.ndarray, stds: np.ndarray, samples: np.ndarray | None
) -> tuple[dict[str, Cell], dict[tuple[str, str], Difference]]:
    """Return the cells and all differences of one set; without ``samples`` no differences."""
    best = int(np.nanargmax(values)) if np.isfinite(values).any() else -1
    cells, differences = {}, {}
    for number, model in enumerate(models):
        is_best = best >= 0 and values[number] == values[best]
        to_best = None if is_best or samples is None else difference(values, samples, number, best)
        cells[model] = Cell(float(values[number]), float(stds[number]), is_best, to_best)
        for other in range(number):
            if samples is not None:
                differences[model, models[other]] = difference(values, samples, number, other)
    return cells, differences
