"""Embedding a set, the result of a complete verification, InsightFace's log lines, and user errors."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.metrics import auc, roc_curve
from sklearn.model_selection import KFold
from sklearn.preprocessing import normalize

from common.errors import UserError
from evaluation.verification import embed_set, highest_line, log_lines, verify_distances, verify_embeddings

RNG_SEED = 11


def column_weights(images):
    """Embed by fixed weights that differ from column to column, so that mirroring shows."""
    weights = np.random.default_rng(RNG_SEED).normal(size=(images[0].size, 5))
    return (images.reshape(len(images), -1) @ weights).astype(np.float32)


def test_embed_set_spreads_plain_and_mirrored_rows():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (7, 3, 4, 6), dtype=np.uint8)
    index = np.array([0, 3, 6, 6, 2, 0, 5, 1])
    plain, flipped = embed_set(column_weights, images, index, batch_size=3)
    assert plain.dtype == flipped.dtype == np.float32
    assert_array_equal(plain, column_weights(images[index]))
    assert_array_equal(flipped, column_weights(images[index][:, :, :, ::-1]))
    assert not np.allclose(plain, flipped)


@pytest.mark.parametrize(("count", "batch_size", "batches"), [(7, 3, 3), (6, 3, 2), (2, 5, 1), (5, 5, 1), (4, 1, 4)])
def test_embed_set_keeps_one_batch_shape_and_reports_batches(count, batch_size, batches):
    shapes, done = [], []

    def embed(images):
        assert images.dtype == np.uint8
        assert images.flags.c_contiguous
        shapes.append(images.shape)
        return column_weights(images)

    images = np.random.default_rng(0).integers(0, 256, (count, 3, 2, 2), dtype=np.uint8)
    plain, _ = embed_set(embed, images, np.arange(count), batch_size, on_batch=lambda: done.append(1))
    assert_array_equal(plain, column_weights(images))
    assert shapes == [(min(count, batch_size), 3, 2, 2)] * (2 * batches)
    assert len(done) == batches


def test_embed_set_refuses_what_it_cannot_use():
    images = np.zeros((4, 3, 2, 2), np.uint8)
    index = np.arange(4)
    with pytest.raises(UserError, match=r"float32 .* expected uint8"):
        embed_set(column_weights, images.astype(np.float32), index, 2)
    with pytest.raises(UserError, match="runs from 0 to 4, but there are 4 images"):
        embed_set(column_weights, images, np.array([0, 4]), 2)
    with pytest.raises(UserError, match="runs from -1"):
        embed_set(column_weights, images, np.array([-1, 2]), 2)
    with pytest.raises(UserError, match="batch size 0"):
        embed_set(column_weights, images, index, 0)
    with pytest.raises(UserError, match=r"gave \(2, 5, 1\) for 2 images"):
        embed_set(lambda batch: column_weights(batch)[..., None], images, index, 2)


def test_verify_embeddings_against_a_loop(hard_set):
    plain, flipped, issame = hard_set
    result = verify_embeddings("hard", plain, flipped, issame)
    unit = normalize(plain.astype(np.float64) + flipped)
    distances = ((unit[0::2] - unit[1::2]) ** 2).sum(axis=1)
    thresholds = np.arange(0, 4, 0.01)
    accuracies, chosen = [], []
    for train, test in KFold(10).split(distances):
        scores = [np.mean((distances[train] < threshold) == issame[train]) for threshold in thresholds]
        chosen.append(thresholds[np.argmax(scores)])
        accuracies.append(np.mean((distances[test] < chosen[-1]) == issame[test]))
    assert result.pairs == 300
    assert_array_equal(result.fold_accuracies, accuracies)
    assert 0.6 < result.accuracy < 0.99
    assert result.accuracy == pytest.approx(np.mean(accuracies))
    assert result.accuracy_std == pytest.approx(np.std(accuracies))
    assert result.threshold == pytest.approx(np.mean(chosen))
    norms = [np.linalg.norm(row.astype(np.float64)) for rows in (plain, flipped) for row in rows]
    assert result.xnorm == pytest.approx(np.mean(norms), rel=1e-12)
    fpr, tpr, _ = roc_curve(issame, -distances)
    assert result.auc == pytest.approx(auc(fpr, tpr), rel=1e-12)


def test_repeated_images_have_distance_zero_and_zero_rows_stay():
    plain = np.repeat(np.random.default_rng(2).normal(size=(20, 4)).astype(np.float32), 2, axis=0)
    plain[6] = 0  # pair 3: the zero vector is at distance 1 from a unit vector
    result = verify_embeddings("repeated", plain, plain, np.arange(20) != 3, nrof_folds=4)
    assert result.accuracy == 1
    assert result.threshold == pytest.approx(0.01)
    assert result.val == 1
    assert np.isnan(result.far)  # the one fold with a different pair has none to train on
    assert result.auc == 1
    assert result.xnorm == pytest.approx(np.linalg.norm(plain.astype(np.float64), axis=1).mean())


def test_embeddings_that_know_nothing_are_at_chance():
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(4000, 8)).astype(np.float32)
    result = verify_embeddings("noise", rows, rows, np.arange(2000) % 2 == 0)
    assert abs(result.accuracy - 0.5) < 0.04
    assert abs(result.auc - 0.5) < 0.04
    assert abs(result.eer - 0.5) < 0.04


def test_a_set_of_same_pairs_alone():
    with np.errstate(all="raise"):
        result = verify_distances("same", np.full(20, 0.3), [True] * 20, 10, xnorm=1.0)
    assert result.accuracy == 1
    assert np.isnan([result.val, result.val_std, result.far, result.auc, result.eer]).all()
    assert result.fpr.size == 0


def test_log_lines_are_insightfaces():
    result = verify_distances("lfw", np.array([0.1, 3.0] * 10), [True, False] * 10, 10, xnorm=22.1724970001)
    assert log_lines(result, 168000) == [
        "[lfw][168000]XNorm: 22.172497",
        "[lfw][168000]Accuracy-Flip: 1.00000+-0.00000",
    ]
    assert highest_line(0.997834, 168000) == "[168000]Accuracy-Highest: 0.99783"


def test_log_lines_agree_with_percent_formats(hard_set):
    result = verify_embeddings("cfp_fp", *hard_set)
    xnorm, accuracy = log_lines(result, 7)
    assert xnorm == "[%s][%d]XNorm: %f" % ("cfp_fp", 7, result.xnorm)  # noqa: UP031
    values = (result.accuracy, result.accuracy_std)
    assert accuracy == "[cfp_fp][7]Accuracy-Flip: %1.5f+-%1.5f" % values  # noqa: UP031


def test_user_errors(hard_set):
    plain, flipped, issame = hard_set
    with pytest.raises(UserError, match="lfw: only 5 pairs for 10 folds"):
        verify_embeddings("lfw", plain[:10], flipped[:10], issame[:5])
    with pytest.raises(UserError, match="lfw: 1 fold "):
        verify_embeddings("lfw", plain, flipped, issame, nrof_folds=1)
    with pytest.raises(UserError, match=r"\(600, 16\) and mirrored \(599, 16\) do not fit 300 pairs"):
        verify_embeddings("lfw", plain, flipped[1:], issame)
    with pytest.raises(UserError, match=r"do not fit 299 pairs; expected \(598, E\)"):
        verify_embeddings("lfw", plain, flipped, issame[1:])
    with pytest.raises(UserError, match="distances"):
        verify_distances("lfw", np.zeros(20), issame, 10, 0.0)
    broken = flipped.copy()
    broken[[3, 8], 1] = np.nan
    broken[8, 2] = np.inf
    with pytest.raises(UserError, match="2 of 600 mirrored embeddings hold NaN or Inf"):
        verify_embeddings("lfw", plain, broken, issame)
    with pytest.raises(UserError, match="2 of 600 embeddings hold NaN or Inf"):
        verify_embeddings("lfw", broken, flipped, issame)


def test_six_thousand_pairs_take_less_than_a_second(large_set):
    plain, flipped, issame = large_set
    start = time.process_time()
    verify_embeddings("lfw", plain, flipped, issame)
    assert time.process_time() - start < 1.0
