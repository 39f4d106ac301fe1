"""Score the distances of N pairs over F folds: accuracy, VAL at a FAR, ROC curve, AUC, EER.

The definitions are those of InsightFace's ``verification.py`` (itself after FaceNet, arXiv 1503.03832). A pair is
accepted as "same" if its distance is strictly below a threshold. Thresholds are chosen on the training folds and scored
on the test fold; folds are contiguous, in file order, as in ``sklearn.model_selection.KFold(F)`` without shuffling.

All distances are float64 ``[N]``, ``issame`` is bool ``[N]``.
"""

from __future__ import annotations

import numpy as np

from evaluation.roc_curve import area_under, roc_curve

MAX_DISTANCE = 4.0  # squared distance of two opposite unit vectors; thresholds cover [0, this)
ACCURACY_STEP = 0.01
VAL_STEP = 0.001


def fold_slices(pairs: int, folds: int) -> list[slice]:
    """Cut ``pairs`` into ``folds`` contiguous slices; the first ``pairs % folds`` slices hold one pair more."""
    size, longer = divmod(pairs, folds)
    bounds = [fold * size + min(fold, longer) for fold in range(folds + 1)]
    return [slice(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False)]


def _count_below(distances: np.ndarray, threshold: np.ndarray | float) -> np.ndarray:
    """Count the distances strictly below each threshold."""
    return np.searchsorted(np.sort(distances), threshold, side="left")


def _count_by_fold(
    distances: np.ndarray, chosen: np.ndarray, folds: list[slice], thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Count the chosen pairs of each fold, ``[F]``, and those among them below each threshold, ``[F,T]``."""
    held = [distances[fold][chosen[fold]] for fold in folds]
    return np.array([len(part) for part in held]), np.array([_count_below(part, thresholds) for part in held])


def fold_accuracies(distances: np.ndarray, issame: np.ndarray, folds: list[slice]) -> tuple[np.ndarray, np.ndarray]:
    """Return the accuracy ``[F]`` of each test fold at the threshold ``[F]`` that is best on its training folds.

    Thresholds are 0, 0.01, ... below 4; the first of several equally good thresholds is chosen. Folds with only same
    or only different pairs need no special case.
    """
    thresholds = np.arange(0, MAX_DISTANCE, ACCURACY_STEP)
    same_count, same_below = _count_by_fold(distances, issame, folds, thresholds)
    different_count, different_below = _count_by_fold(distances, ~issame, folds, thresholds)
    correct = same_below + different_count[:, None] - different_below
    best = np.argmax(correct.sum(axis=0) - correct, axis=1)
    return correct[np.arange(len(folds)), best] / (same_count + different_count), thresholds[best]


def far_threshold(false_accept_rates: np.ndarray, thresholds: np.ndarray, far_target: float) -> float:
    """Interpolate the threshold at which the rising ``false_accept_rates [T]`` reach ``far_target``; 0 if they do not.

    If a rate repeats, its last threshold counts, as in scipy's ``interp1d(rates, thresholds, 'slinear')`` of the
    original, which accepted repeated rates up to scipy 1.8.
    """
    if false_accept_rates[-1] < far_target:
        return 0.0
    return float(np.interp(far_target, false_accept_rates, thresholds))


def fold_validation_rates(
    distances: np.ndarray, issame: np.ndarray, folds: list[slice], far_target: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return VAL ``[F]`` (share of same pairs accepted) and FAR ``[F]`` of each test fold.

    The threshold of a fold gives ``far_target`` on its training folds (step 0.001, interpolated). VAL is NaN for a
    fold without same pairs, FAR for a fold without different pairs, and both if the training folds contain no
    different pair.
    """
    thresholds = np.arange(0, MAX_DISTANCE, VAL_STEP)
    count, below = _count_by_fold(distances, ~issame, folds, thresholds)
    training_count, training_below = count.sum() - count, below.sum(axis=0) - below
    val, far = np.full(len(folds), np.nan), np.full(len(folds), np.nan)
    for number, fold in enumerate(folds):
        if training_count[number] == 0:
            continue
        threshold = far_threshold(training_below[number] / training_count[number], thresholds, far_target)
        same, different = distances[fold][issame[fold]], distances[fold][~issame[fold]]
        if len(same):
            val[number] = _count_below(same, threshold) / len(same)
        if len(different):
            far[number] = _count_below(different, threshold) / len(different)
    return val, far


def mean_and_std(values: np.ndarray) -> tuple[float, float]:
    """Return mean and population standard deviation of the values that are not NaN; (NaN, NaN) if all are."""
    measured = values[~np.isnan(values)]
    return (float(measured.mean()), float(measured.std())) if len(measured) else (float("nan"), float("nan"))


def roc(distances: np.ndarray, issame: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return (fpr, tpr, auc, eer) over all pairs; the curve starts at (0,0) and has one point per distinct distance.

    ``eer`` is the rate at which false accepts equal false rejects, interpolated along the curve. Without same or
    without different pairs the curve is empty and both numbers are NaN.
    """
    if issame.all() or not issame.any():
        return np.empty(0), np.empty(0), float("nan"), float("nan")
    fpr, tpr = roc_curve(issame, distances)
    return fpr, tpr, area_under(fpr, tpr), float(np.interp(0.0, fpr - (1.0 - tpr), fpr))
