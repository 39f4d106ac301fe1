"""Verify faces as InsightFace does: embed the images of a set, compare its pairs, score them over folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from common.errors import UserError
from common.wording import counted
from evaluation.far_thresholds import FAR_TARGETS, FarThreshold, find_thresholds
from evaluation.pair_metrics import fold_accuracies, fold_slices, fold_validation_rates, mean_and_std, roc
from evaluation.similarity import pair_distances

FAR_TARGET = 1e-3


@dataclass(frozen=True, eq=False)
class VerificationResult:
    """The results of one verification set. Rates are fractions, distances squared L2 of unit vectors (0 to 4).

    ``val`` is the share of same pairs accepted at the threshold that aims at ``FAR_TARGET``, ``far`` the false accept
    rate measured at this threshold, both averaged over the test folds. Without same or without different pairs the
    numbers that need them are NaN and the curve is empty.

    ``thresholds`` has one for each wanted FAR, first those of the embedding that all other numbers are of.
    ``mirrored`` tells which that is: f(image) + f(mirrored image), or f(image).
    """

    name: str
    pairs: int
    accuracy: float
    accuracy_std: float
    threshold: float  # mean of the folds' thresholds
    fold_accuracies: np.ndarray  # float64 [F]
    xnorm: float
    val: float
    val_std: float
    far: float
    auc: float
    eer: float
    fpr: np.ndarray  # float64 [P], rising from 0 to 1
    tpr: np.ndarray  # float64 [P]
    distances: np.ndarray  # float64 [N], of each pair in file order
    thresholds: tuple[FarThreshold, ...] = ()
    fold_thresholds: np.ndarray = field(
        default_factory=lambda: np.empty(0)
    )  # float64 [F], which accuracy is measured at
    mirrored: bool = True

    @property
    def pair_thresholds(self) -> np.ndarray:
        """The threshold of each pair's fold, float64 [N]; a smaller distance means one person."""
        folds = fold_slices(self.pairs, len(self.fold_thresholds))
        return np.repeat(self.fold_thresholds, [fold.stop - fold.start for fold in folds])


def embed_set(
    embed: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    index: np.ndarray,
    batch_size: int,
    on_batch: Callable[[], None] | None = None,
    mirrored: bool = True,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Embed every distinct image once plain and once mirrored left to right, and expand the rows by ``index``.

    Every call of ``embed`` gets the same number of images, min(batch_size, M), so that a network of fixed shape is
    built once: the last batch overlaps with the one before.

    Args:
        embed: embeds uint8 ``[B,3,H,W]`` (contiguous) to float32 ``[B,E]``.
        images: the distinct images, uint8 ``[M,3,H,W]``.
        index: the image of each side of each pair, int ``[2N]``.
        batch_size: images per call of ``embed``.
        on_batch: called after each of the ceil(M / batch_size) batches (plain and mirrored together).
        mirrored: embed the mirrored images too.

    Returns:
        plain and mirrored embeddings, float32 ``[2N,E]`` each; None for those that were not asked for.

    Raises:
        UserError: the arrays do not have these shapes and types, ``index`` points outside ``images``, or
            ``batch_size`` is below 1.
    """
    _check_images(images, index)
    if batch_size < 1:
        raise UserError(f"batch size {batch_size} is not positive; give at least 1")
    count = len(images)
    size = min(batch_size, count)
    plain = flipped = np.empty((0, 0), dtype=np.float32)
    for start in range(0, count, size):
        start = min(start, count - size)
        batch = np.ascontiguousarray(images[start : start + size])
        rows = _embed_batch(embed, batch)
        if not len(plain):
            plain, flipped = (np.empty((count, rows.shape[1]), dtype=np.float32) for _ in range(2))
        plain[start : start + size] = rows
        if mirrored:
            flipped[start : start + size] = _embed_batch(embed, np.ascontiguousarray(batch[..., ::-1]))
        if on_batch is not None:
            on_batch()
    return plain[index], flipped[index] if mirrored else None


def verify_embeddings(
    name: str,
    plain: np.ndarray,
    flipped: np.ndarray | None,
    issame: Sequence[bool] | np.ndarray,
    nrof_folds: int = 10,
    far_targets: Sequence[float] = FAR_TARGETS,
) -> VerificationResult:
    """Score a set from the embeddings ``[2N,E]`` of its plain and mirrored images; pair i is rows 2i and 2i+1.

    Plain and mirrored rows are added, then L2-normalised; XNorm is the mean norm of the rows before that. Thresholds
    are given for the plain rows alone, too. Without mirrored rows all numbers are those of the plain rows.

    Raises:
        UserError: the shapes do not fit, values are not finite, or there are fewer pairs than folds.
    """
    rows = add_mirrored(name, plain, flipped, issame)
    # float64 as in the original, which collects the network's float32 rows in a float64 array
    plain = np.asarray(plain, np.float64)
    kinds = [plain] if flipped is None else [plain, np.asarray(flipped, np.float64)]
    xnorm = np.linalg.norm(np.concatenate(kinds), axis=1).mean()
    distances = pair_distances(rows[0::2], rows[1::2])
    result = verify_distances(name, distances, issame, nrof_folds, xnorm, far_targets, flipped is not None)
    if flipped is None:
        return result
    alone = pair_distances(plain[0::2], plain[1::2])
    thresholds = find_thresholds(alone, np.asarray(issame, dtype=bool), far_targets, mirrored=False)
    return replace(result, thresholds=result.thresholds + thresholds)


def add_mirrored(
    name: str, plain: np.ndarray, flipped: np.ndarray | None, issame: Sequence[bool] | np.ndarray
) -> np.ndarray:
    """Return the sum of plain and mirrored rows, or the plain rows, float64 ``[2N,E]``.

    Raises:
        UserError: the shapes do not fit the N labels, or values are not finite.
    """
    kinds = [("", np.asarray(plain))] + ([("mirrored ", np.asarray(flipped))] if flipped is not None else [])
    shapes = [rows.shape for _, rows in kinds]
    if len(shapes[0]) != 2 or len(set(shapes)) > 1 or shapes[0][0] != 2 * len(issame):
        raise UserError(
            f"{name}: embeddings of shape {' and mirrored '.join(map(str, shapes))} do not fit {len(issame)} pairs; "
            f"expected ({2 * len(issame)}, E){' for both' if len(kinds) > 1 else ''}"
        )
    for kind, rows in kinds:
        broken = np.count_nonzero(~np.isfinite(rows).all(axis=1))
        if broken:
            raise UserError(
                f"{name}: {broken} of {len(rows)} {kind}embeddings hold NaN or Inf; "
                "the model has diverged or its images are not preprocessed as it expects"
            )
    return sum(rows.astype(np.float64) for _, rows in kinds)


def verify_distances(
    name: str,
    distances: np.ndarray,
    issame: Sequence[bool] | np.ndarray,
    nrof_folds: int,
    xnorm: float,
    far_targets: Sequence[float] = FAR_TARGETS,
    mirrored: bool = True,
) -> VerificationResult:
    """Score a set from the squared distances ``[N]`` of its pairs; ``mirrored`` says of which embedding they are.

    Raises:
        UserError: the numbers of pairs and labels differ, there are fewer pairs than folds, or fewer than two folds.
    """
    issame = np.asarray(issame, dtype=bool)
    if issame.shape != distances.shape or issame.ndim != 1:
        raise UserError(
            f"{name}: distances {distances.shape} but labels {issame.shape}; expected one of each for every pair"
        )
    if nrof_folds < 2:
        raise UserError(
            f"{name}: {counted(nrof_folds, 'fold')} asked for; expected at least 2, one to test and one to train on"
        )
    check_folds(name, len(issame), nrof_folds)
    folds = fold_slices(len(issame), nrof_folds)
    accuracies, thresholds = fold_accuracies(distances, issame, folds)
    accuracy, accuracy_std = mean_and_std(accuracies)
    validation_rates, false_accept_rates = fold_validation_rates(distances, issame, folds, FAR_TARGET)
    val, val_std = mean_and_std(validation_rates)
    far, _ = mean_and_std(false_accept_rates)
    fpr, tpr, auc, eer = roc(distances, issame)
    return VerificationResult(
        name=name,
        pairs=len(issame),
        accuracy=accuracy,
        accuracy_std=accuracy_std,
        threshold=float(thresholds.mean()),
        fold_accuracies=accuracies,
        xnorm=float(xnorm),
        val=val,
        val_std=val_std,
        far=far,
        auc=auc,
        eer=eer,
        fpr=fpr,
        tpr=tpr,
        distances=distances,
        thresholds=find_thresholds(distances, issame, far_targets, mirrored),
        fold_thresholds=thresholds,
        mirrored=mirrored,
    )


def check_folds(name: object, pairs: int, nrof_folds: int) -> None:
    """Check that a set, whose name or path is ``name``, has a pair for each fold.

    Raises:
        UserError: there are fewer pairs than folds.
    """
    if pairs < nrof_folds:
        raise UserError(
            f"{name}: only {counted(pairs, 'pair')} for {nrof_folds} folds; use more pairs or a smaller --nrof_folds"
        )


def log_lines(result: VerificationResult, step: int) -> list[str]:
    """Return the lines that InsightFace prints for one set: ``[lfw][168000]XNorm: ...``, ``...Accuracy-Flip: ...``.

    Without the mirrored images the second is ``...Accuracy: ...``.
    """
    head, kind = f"[{result.name}][{step}]", "Accuracy-Flip" if result.mirrored else "Accuracy"
    return [f"{head}XNorm: {result.xnorm:f}", f"{head}{kind}: {result.accuracy:.5f}+-{result.accuracy_std:.5f}"]


def threshold_lines(result: VerificationResult, step: int) -> list[str]:
    """Return a line for each measured threshold for f(image) + f(mirrored image)."""
    return [
        f"[{result.name}][{step}]Threshold-Flip@FAR={each.far_target:g}: "
        f"distance {each.distance:.4f} ({_range(each.distance_interval)}), "
        f"cosine {each.cosine:.4f} ({_range(each.cosine_interval)}), TAR {each.tar:.5f}"
        for each in result.thresholds
        if each.mirrored and each.is_measured
    ]


def logged_numbers(result: VerificationResult) -> dict[str, float]:
    """Return the numbers of one verification that a training records, by name."""
    names = ("accuracy", "accuracy_std", "xnorm", "auc", "val")
    numbers = {name: getattr(result, name) for name in names}
    for each in result.thresholds:
        if each.mirrored:
            numbers |= {f"cosine_at_far_{each.far_target:g}": each.cosine, f"tar_at_far_{each.far_target:g}": each.tar}
    return numbers


def highest_line(accuracy: float, step: int) -> str:
    """Return InsightFace's line for the best accuracy so far: ``[168000]Accuracy-Highest: 0.99783``."""
    return f"[{step}]Accuracy-Highest: {accuracy:.5f}"


def _range(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _check_images(images: np.ndarray, index: np.ndarray) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8 or not len(images):
        raise UserError(f"verification images are {images.dtype} {images.shape}; expected uint8 [M,3,H,W] with M > 0")
    if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        raise UserError(f"the image index is {index.dtype} {index.shape}; expected a one-dimensional array of integers")
    if len(index) and not 0 <= index.min() <= index.max() < len(images):
        raise UserError(
            f"the image index runs from {index.min()} to {index.max()}, but there are {counted(len(images), 'image')}"
        )


def _embed_batch(embed: Callable[[np.ndarray], np.ndarray], batch: np.ndarray) -> np.ndarray:
    rows = np.asarray(embed(batch))
    if rows.ndim != 2 or len(rows) != len(batch):
        raise UserError(
            f"the model gave {rows.shape} for {counted(len(batch), 'image')}; expected ({len(batch)}, embedding size)"
        )
    return rows
