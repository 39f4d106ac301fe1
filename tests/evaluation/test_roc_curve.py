"""The ROC curve and its area are scikit-learn's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc
from sklearn.metrics import roc_curve as sklearn_roc_curve

from evaluation.roc_curve import area_under, roc_curve


@pytest.mark.parametrize("decimals", [1, 2, 12])
@pytest.mark.parametrize(("pairs", "share"), [(2, 0.5), (7, 0.3), (600, 0.5), (6001, 0.01)])
def test_curve_and_area_are_sklearns(pairs: int, share: float, decimals: int) -> None:
    rng = np.random.default_rng((pairs, decimals))
    issame = rng.random(pairs) < share
    issame[:2] = [True, False]
    distances = np.round(rng.random(pairs) * 4 * np.where(issame, 0.7, 1), decimals)  # many ties, or none
    fpr, tpr = roc_curve(issame, distances)
    expected_fpr, expected_tpr, _ = sklearn_roc_curve(issame, -distances, drop_intermediate=False)
    np.testing.assert_array_equal(fpr, expected_fpr)
    np.testing.assert_array_equal(tpr, expected_tpr)
    assert area_under(fpr, tpr) == auc(expected_fpr, expected_tpr)
