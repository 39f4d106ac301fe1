from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.head_cases import CASES, FORMS, HeadCase, extreme_embeddings, usual_embeddings
from tests.support.head_reference import HeadValues, compute_head
from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "head_program.py"
ALL = tuple(case.name for case in CASES)
# Compiling is slowest on 4 ranks, so the others are in the slow suite: no margin depends on the number of ranks.
ON_FOUR = ("softmax", "all_margins", "few_classes")
RUNS = [
    pytest.param((1, ALL), id="1rank"),
    pytest.param((2, ALL), id="2ranks"),
    pytest.param((4, ON_FOUR), id="4ranks"),
    pytest.param((4, tuple(sorted({*ALL} - {*ON_FOUR}))), id="4ranks-others", marks=pytest.mark.slow),
]
by_form = pytest.mark.parametrize("form", FORMS)


def parametrize_cases() -> pytest.MarkDecorator:
    """Return each run with each of its cases."""
    return pytest.mark.parametrize(
        ("heads", "case"),
        [
            pytest.param(run.values[0], case, id=f"{run.id}-{case.name}", marks=run.marks)
            for run in RUNS
            for case in CASES
            if case.name in run.values[0][1]
        ],
        indirect=["heads"],
    )


@pytest.fixture(scope="module", params=RUNS)
def heads(request: pytest.FixtureRequest) -> list[dict[tuple[str, str], dict[str, Any]]]:
    """The results of every rank: (name, form) -> usual, extreme, sbp."""
    return run_cases(*request.param)


@functools.cache
def run_cases(ranks: int, names: tuple[str, ...]) -> list[dict[tuple[str, str], dict[str, Any]]]:
    return run_ranks(PROGRAM, ranks, list(names))


def cases_of(heads: list[dict]) -> list[HeadCase]:
    return [case for case in CASES if (case.name, FORMS[0]) in heads[0]]


def reference(case: HeadCase) -> HeadValues:
    return compute_head(usual_embeddings(), case.weight(), case.labels(), case.margin, case.scale, case.bias_values())


def assert_close(actual: np.ndarray, expected: np.ndarray, relative: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=relative * np.abs(expected).max())


@by_form
@parametrize_cases()
def test_loss_gradients_and_accuracy_equal_the_float64_reference(heads: list[dict], case: HeadCase, form: str) -> None:
    expected = reference(case)
    for rank in heads:
        values = rank[case.name, form]["usual"]
        np.testing.assert_allclose(values["loss"], expected.loss, rtol=1e-5)
        assert values["correct"] == expected.correct
        assert_close(values["embeddings"], expected.embeddings, 2e-5)
        assert_close(values["weight"][: case.num_classes], expected.weight, 2e-5)
        if case.bias:
            assert_close(values["bias"][: case.num_classes], expected.bias, 2e-5)


@by_form
@parametrize_cases()
def test_cosines_of_one_and_minus_one_stay_finite(heads: list[dict], case: HeadCase, form: str) -> None:
    embeddings, labels = extreme_embeddings(case), case.labels()
    expected = compute_head(embeddings[:7], case.weight(), labels[:7], case.margin, case.scale, case.bias_values())
    for rank in heads:
        values = rank[case.name, form]["extreme"]
        assert all(np.isfinite(value).all() for value in values.values())
        # A zero embedding has cosine 0 with all centres, so its loss is known too.
        margin = case.margin or (1, 0, 0)
        if case.margin is not None:
            target = np.cos(margin[0] * np.pi / 2 + margin[1]) - margin[2]
            others = case.num_classes - 1
            zero = np.log(np.exp(-case.scale * target) * others + 1)
            np.testing.assert_allclose(values["loss"], (expected.loss * 7 + zero) / 8, rtol=1e-3)


def test_padding_rows_get_no_gradient(heads: list[dict]) -> None:
    ranks = len(heads)
    for kind in ("usual", "extreme"):
        for case in cases_of(heads):
            values = heads[0][case.name, "model_parallel"][kind]
            assert len(values["weight"]) == -(-case.num_classes // ranks) * ranks
            for key in ("weight", *(["bias"] if case.bias else [])):
                padding = values[key][case.num_classes :]
                np.testing.assert_array_equal(padding, np.zeros_like(padding))


def test_forms_have_the_layouts_they_say(heads: list[dict]) -> None:
    for case in cases_of(heads):
        assert "split(dim=0)" in heads[0][case.name, "model_parallel"]["sbp"]
        assert "broadcast" in heads[0][case.name, "replicated"]["sbp"]


def test_accuracy_counts_some_hits_and_some_misses(heads: list[dict]) -> None:
    """Embeddings on their own centres are hits, opposite ones misses; a constant count would fail."""
    for case in cases_of(heads):
        values = heads[0][case.name, "model_parallel"]["extreme"]
        if case.margin is None:
            continue
        unit = extreme_embeddings(case)[:7] / np.linalg.norm(extreme_embeddings(case)[:7], axis=1, keepdims=True)
        centres = case.weight() / np.linalg.norm(case.weight(), axis=1, keepdims=True)
        hits = int(((unit @ centres.T).argmax(axis=1) == case.labels()[:7]).sum())
        assert 0 < hits < 7
        # The zero embedding is equally near to all classes.
        assert values["correct"] == hits + 1
