"""Templates and pair scores have InsightFace's numbers, bit for bit where both are float32 loops."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.insightface_loops import pool_in_loops, score_in_batches
from common.errors import UserError
from evaluation.templates import pair_scores, pooling
from evaluation.templates.pair_scores import score_pairs
from evaluation.templates.pooling import TemplateLayout, TemplateSums, pool_templates
from ops.search import NativeTemplateSums
from tests.support import ijb_reference as reference

SMALL = reference.make_set(4, 60)
TEMPLATES = np.array([template for _, template, _ in SMALL.faces])
MEDIAS = np.array([media for _, _, media in SMALL.faces])
FEATURES = reference.draw_features(SMALL, 40)
LAYOUT = TemplateLayout.of(TEMPLATES, MEDIAS)


@pytest.fixture(scope="module", params=["native", "native, small parts", "scipy", "scipy, small parts"])
def sum_up(request: pytest.FixtureRequest) -> Iterator[TemplateSums]:
    with pytest.MonkeyPatch.context() as patch:
        if "small" in request.param:
            patch.setattr(pooling, "_BLOCK", 16)
            patch.setattr(pooling, "_PART", 50)
        yield NativeTemplateSums() if "native" in request.param else pooling.sum_in_blocks


@pytest.mark.parametrize("detector", [False, True])
def test_the_bits_are_those_of_the_loops(sum_up: TemplateSums, detector: bool) -> None:
    scores = np.array(SMALL.detector, np.float32)
    expected = pool_in_loops(FEATURES * scores[:, None] if detector else FEATURES, TEMPLATES, MEDIAS)
    found = pool_templates(LAYOUT, FEATURES, scores if detector else None, sum_up=sum_up)
    assert np.array_equal(LAYOUT.templates, np.unique(TEMPLATES)) and np.array_equal(found, expected)


def test_without_norms_the_bits_are_those_of_the_loops_too(sum_up: TemplateSums) -> None:
    lengths = np.sqrt(np.sum(FEATURES**2, -1, keepdims=True))
    expected = pool_in_loops(FEATURES / lengths, TEMPLATES, MEDIAS)
    assert np.array_equal(pool_templates(LAYOUT, FEATURES, normalize=True, sum_up=sum_up), expected)


def test_float16_and_zeros(sum_up: TemplateSums) -> None:
    half = FEATURES.astype(np.float16)
    half[TEMPLATES[0] == TEMPLATES] = 0
    found = pool_templates(LAYOUT, half, normalize=True, sum_up=sum_up)
    row = LAYOUT.rows(TEMPLATES[:1])[0]
    assert not found[row].any()
    lengths = np.linalg.norm(np.delete(found, row, axis=0), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-12)


def test_features_that_overflow() -> None:
    with pytest.raises(UserError, match=rf"template {TEMPLATES[3]}: the feature of one of its images is NaN or Inf"):
        pool_templates(LAYOUT, np.where(np.arange(len(FEATURES))[:, None] == 3, np.float32(np.inf), FEATURES))


def test_the_kernel_refuses_what_would_read_elsewhere() -> None:
    sums, arrays = NativeTemplateSums(), (LAYOUT.media_begins, LAYOUT.template_begins)
    factors = np.ones(len(FEATURES), np.float32)
    with pytest.raises(ValueError, match="a row is out of range"):
        sums(FEATURES, LAYOUT.order + 1, factors, *arrays)
    with pytest.raises(ValueError, match="the groups must follow each other"):
        sums(FEATURES, LAYOUT.order, factors, LAYOUT.media_begins + 1, LAYOUT.template_begins)
    with pytest.raises(ValueError, match="expected contiguous float32"):
        sums(FEATURES.astype(float), LAYOUT.order, factors, *arrays)


def test_rows_of_large_numbers() -> None:
    layout = TemplateLayout.of(np.array([10**12, 5, 7]), np.array([1, 1, 1]))
    assert layout.rows(np.array([7, 10**12, 5])).tolist() == [1, 2, 0]
    for unknown in (6, 10**13):
        with pytest.raises(KeyError):
            layout.rows(np.array([5, unknown]))


@pytest.mark.parametrize("dense", [0, 40])
@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("swapped", [False, True])
def test_pair_scores(monkeypatch: pytest.MonkeyPatch, dense: int, in_order: bool, swapped: bool) -> None:
    monkeypatch.setattr(pair_scores, "_DENSE", dense)
    monkeypatch.setattr(pair_scores, "_MATRIX", 700)
    monkeypatch.setattr(pair_scores, "_GATHER", 64)
    templates = pool_templates(LAYOUT, FEATURES)
    first, second = (LAYOUT.rows(np.array(rows)) for rows in list(zip(*SMALL.pairs, strict=True))[:2])
    if not in_order:
        order = np.random.default_rng(0).permutation(len(first))
        first, second = first[order], second[order]
    if swapped:
        first, second = second, first
    found = score_pairs(templates, first, second)
    np.testing.assert_allclose(found, score_in_batches(templates, first, second), rtol=0, atol=1e-15)
    assert score_pairs(templates, first[:0], second[:0]).shape == (0,)


def test_equal_templates_have_equal_scores() -> None:
    """A tie of two pairs stays one, wherever in the matrix they are."""
    rng = np.random.default_rng(5)
    templates = rng.standard_normal((300, 64))
    templates[[7, 150, 299]] = templates[0]
    first, second = (rows.ravel() for rows in np.meshgrid(np.arange(200), np.arange(100, 300), indexing="ij"))
    scores = score_pairs(templates, first, second)
    for other in range(200):
        values = scores[(first == other) & np.isin(second, [150, 299])]
        assert values[0] == values[1]
