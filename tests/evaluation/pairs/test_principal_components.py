"""Accuracy with PCA against InsightFace's ``calculate_roc`` with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize

from common.errors import UserError
from evaluation.pairs.principal_components import verify_with_pca


def original(embeddings: np.ndarray, issame: np.ndarray, nrof_folds: int, pca: int) -> list[float]:
    """Follow InsightFace's ``calculate_roc(..., pca=pca)``; embeddings are normalised."""
    first, second = embeddings[0::2], embeddings[1::2]
    thresholds, accuracies = np.arange(0, 4, 0.01), []
    for train, test in KFold(n_splits=nrof_folds, shuffle=False).split(np.arange(len(issame))):
        model = PCA(n_components=pca, svd_solver="full")
        model.fit(np.concatenate((first[train], second[train]), axis=0))
        one, two = (normalize(model.transform(each)) for each in (first, second))
        distances = np.sum(np.square(one - two), 1)
        correct = [np.mean((distances[train] < each) == issame[train]) for each in thresholds]
        accuracies.append(np.mean((distances[test] < thresholds[np.argmax(correct)]) == issame[test]))
    return accuracies


@pytest.mark.parametrize(("components", "folds"), [(3, 10), (11, 7), (16, 2)])
def test_accuracy_with_pca_is_insightfaces(hard_set, components, folds):
    plain, flipped, issame = hard_set
    rows = plain.astype(np.float64) + flipped
    found = verify_with_pca("hard", rows, issame, components, folds)
    expected = original(normalize(rows), issame, folds, components)
    np.testing.assert_allclose(found.fold_accuracies, expected, atol=1e-12)
    assert found.line(7) == f"[hard][7]Accuracy-PCA-{components}: {np.mean(expected):.5f}+-{np.std(expected):.5f}"
    assert found.describe()["accuracy"] == pytest.approx(np.mean(expected))


def test_too_many_components_are_one_line(hard_set):
    plain, _, issame = hard_set
    with pytest.raises(UserError, match="--pca 17: hard allows at most 16 components"):
        verify_with_pca("hard", plain, issame, 17)
    with pytest.raises(UserError, match="at most 10 components"):
        verify_with_pca("few", plain[:20], issame[:10], 11, 2)
