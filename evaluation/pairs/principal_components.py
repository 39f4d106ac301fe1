"""Accuracy after a principal component analysis, as with ``pca`` in InsightFace's ``verification.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import UserError
from evaluation.pair_metrics import fold_accuracies, fold_slices, mean_and_std
from evaluation.similarity import normalize_rows, pair_distances


@dataclass(frozen=True, eq=False)
class PcaAccuracy:
    """Accuracy with embeddings reduced to their first principal components.

    Attributes:
        name: the set.
        components: their number.
        fold_accuracies: float64 [F].
    """

    name: str
    components: int
    fold_accuracies: np.ndarray

    def describe(self) -> dict[str, Any]:
        """Return the numbers for the report."""
        accuracy, std = mean_and_std(self.fold_accuracies)
        return {
            "components": self.components,
            "accuracy": accuracy,
            "accuracy_std": std,
            "fold_accuracies": self.fold_accuracies,
        }

    def line(self, step: int) -> str:
        """Return a line for the log: ``[lfw][168000]Accuracy-PCA-128: 0.99783+-0.00269``."""
        accuracy, std = mean_and_std(self.fold_accuracies)
        return f"[{self.name}][{step}]Accuracy-PCA-{self.components}: {accuracy:.5f}+-{std:.5f}"


def check_components(name: str, components: int, pairs: int, size: int, nrof_folds: int) -> None:
    """Check that the training folds determine the components.

    Raises:
        UserError: there are fewer images, or fewer numbers in an embedding.
    """
    most = min(size, 2 * (pairs - -(-pairs // nrof_folds)))
    if components > most:
        raise UserError(
            f"--pca {components}: {name} allows at most {most} components, of embeddings of {size} numbers and the "
            "images of the training folds"
        )


def verify_with_pca(
    name: str, rows: np.ndarray, issame: np.ndarray, components: int, nrof_folds: int = 10
) -> PcaAccuracy:
    """Return the accuracy over the folds, each with the components of its own training folds.

    Embeddings are normalised, then projected on the first components of both images of all training pairs (after their
    mean is subtracted), then normalised again.

    Args:
        name: the set.
        rows: embeddings [2N, E]; pair i is rows 2i and 2i + 1.
        issame: bool [N].
        components: the number of components.
        nrof_folds: the number of folds.

    Raises:
        UserError: there are not so many components.
    """
    check_components(name, components, len(issame), rows.shape[1], nrof_folds)
    rows, folds = normalize_rows(rows), fold_slices(len(issame), nrof_folds)
    accuracies = np.empty(len(folds))
    for number, fold in enumerate(folds):
        training = np.delete(rows, np.arange(2 * fold.start, 2 * fold.stop), axis=0)
        mean = training.mean(axis=0)
        _, vectors = np.linalg.eigh((training - mean).T @ (training - mean))  # the largest eigenvalues come last
        projected = (rows - mean) @ vectors[:, -components:]
        distances = pair_distances(projected[0::2], projected[1::2])
        accuracies[number] = fold_accuracies(distances, issame, folds)[0][number]
    return PcaAccuracy(name, components, accuracies)
