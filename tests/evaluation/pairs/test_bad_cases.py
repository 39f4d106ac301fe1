"""Bad cases and per-pair scores against InsightFace's loop over folds."""

from __future__ import annotations

import csv
import io

import cv2
import numpy as np
import pytest

from evaluation.pairs.bad_cases import find_bad_cases
from evaluation.pairs.histogram import draw_histograms
from evaluation.pairs.scores import COLUMNS, write_scores
from evaluation.verification import VerificationResult, verify_distances, verify_embeddings


@pytest.fixture
def result(hard_set) -> VerificationResult:
    return verify_embeddings("hard", *hard_set, nrof_folds=7)  # 300 pairs: folds of 43 and 42


def loop(result: VerificationResult, issame: np.ndarray, nrof_folds: int) -> tuple[list, list]:
    """Follow ``test_badcase`` of InsightFace: (pair, distance) of false rejects and false accepts."""
    thresholds, rejects, accepts = np.arange(0, 4, 0.01), [], []
    for test in np.array_split(np.arange(len(issame)), nrof_folds):
        train = np.setdiff1d(np.arange(len(issame)), test)
        accuracies = [np.mean((result.distances[train] < each) == issame[train]) for each in thresholds]
        best = thresholds[np.argmax(accuracies)]
        for pair in test:
            violation = result.distances[pair] - best if issame[pair] else best - result.distances[pair]
            if violation > 0:
                (rejects if issame[pair] else accepts).append((pair, result.distances[pair]))
    return sorted(rejects, key=lambda each: -each[1]), sorted(accepts, key=lambda each: each[1])


def test_bad_cases_are_insightfaces(result, hard_set):
    issame = hard_set[2]
    found = find_bad_cases(result, issame)
    rejects, accepts = loop(result, issame, 7)
    assert len(accepts) > 5 and len(rejects) > 5
    assert found.false_accepts.tolist() == [pair for pair, _ in accepts]
    assert found.false_rejects.tolist() == [pair for pair, _ in rejects]


def test_a_pair_at_the_threshold_is_rejected_and_equal_ones_keep_their_order():
    distances = np.where(np.arange(40) % 2 == 0, 0.5, 2.0)
    issame = np.arange(40) % 2 == 0
    distances[[4, 8]] = 3.0  # same, far
    distances[[5, 9]] = 0.1  # different, near
    result = verify_distances("ties", distances, issame, 4, 1.0)
    found = find_bad_cases(result, issame)
    assert found.false_rejects.tolist() == [4, 8] and found.false_accepts.tolist() == [5, 9]
    at = np.full(20, result.fold_thresholds[0])
    same = verify_distances("same", at, np.full(20, True), 2, 1.0)
    edge = VerificationResult(**{**vars(same), "fold_thresholds": at[:2]})
    assert find_bad_cases(edge, np.full(20, True)).false_rejects.tolist() == list(range(20))


def test_the_number_of_bad_cases_is_that_of_the_errors(result, hard_set):
    found = find_bad_cases(result, hard_set[2])
    folds = np.array_split(np.arange(300), 7)
    wrong = np.concatenate([found.false_accepts, found.false_rejects])
    errors = [1 - np.isin(fold, wrong).mean() for fold in folds]
    np.testing.assert_allclose(errors, result.fold_accuracies)


def test_scores_can_be_read_back(result, hard_set):
    text = io.StringIO()
    write_scores(text, [result, result], [hard_set[2], hard_set[2]])
    text.seek(0)
    rows = list(csv.DictReader(text))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 600
    np.testing.assert_array_equal([float(row["distance"]) for row in rows[:300]], result.distances)
    np.testing.assert_array_equal([float(row["cosine"]) for row in rows[300:]], 1 - result.distances / 2)
    assert [int(row["same"]) for row in rows[:300]] == hard_set[2].astype(int).tolist()
    correct = np.array([row["accepted"] == row["same"] for row in rows[:300]])
    folds = np.array([int(row["fold"]) for row in rows[:300]])
    np.testing.assert_allclose([correct[folds == fold].mean() for fold in range(7)], result.fold_accuracies)


@pytest.mark.parametrize("same", [None, True])
def test_histograms_are_drawn(result, hard_set, same):
    buffer = io.BytesIO()
    issame = hard_set[2] if same is None else np.full(300, same)
    draw_histograms(buffer, [result, result], [issame, issame])
    picture = cv2.imdecode(np.frombuffer(buffer.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (540, 800, 3)
    blue, _, red = (picture[..., channel].astype(int) for channel in range(3))
    assert np.count_nonzero(blue > red + 40) > 500  # pairs of one person
    assert (np.count_nonzero(red > blue + 40) > 500) == (same is None)  # pairs of two
