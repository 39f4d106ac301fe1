from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.head_cases import CASES, HeadCase, extreme_embeddings, usual_embeddings
from tests.support.head_reference import HeadValues, compute_head
from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "head_program.py"
FORMS = {"model_parallel": 0, "replicated": len(CASES)}


@pytest.fixture(scope="module", params=[1, 2, 4], ids=lambda ranks: f"{ranks}ranks")
def heads(request: pytest.FixtureRequest) -> list[dict]:
    """Both forms of every case."""
    return run_ranks(PROGRAM, request.param, [True, False])


def select(rank: dict, kind: str, case: HeadCase, form: str) -> dict[str, np.ndarray]:
    return rank[kind][FORMS[form] + CASES.index(case)]


def reference(case: HeadCase) -> HeadValues:
    return compute_head(usual_embeddings(), case.weight(), case.labels(), case.margin, case.scale, case.bias_values())


def assert_close(actual: np.ndarray, expected: np.ndarray, relative: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=relative * np.abs(expected).max())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_loss_gradients_and_accuracy_equal_the_float64_reference(heads: list[dict], case: HeadCase, form: str) -> None:
    expected = reference(case)
    for rank in heads:
        values = select(rank, "usual", case, form)
        np.testing.assert_allclose(values["loss"], expected.loss, rtol=1e-5)
        assert values["correct"] == expected.correct
        assert_close(values["embeddings"], expected.embeddings, 2e-5)
        assert_close(values["weight"][: case.num_classes], expected.weight, 2e-5)
        if case.bias:
            assert_close(values["bias"][: case.num_classes], expected.bias, 2e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cosines_of_one_and_minus_one_stay_finite(heads: list[dict], case: HeadCase, form: str) -> None:
    embeddings, labels = extreme_embeddings(case), case.labels()
    expected = compute_head(embeddings[:7], case.weight(), labels[:7], case.margin, case.scale, case.bias_values())
    for rank in heads:
        values = select(rank, "extreme", case, form)
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
        for case, values in zip(CASES, heads[0][kind][: len(CASES)], strict=True):
            assert len(values["weight"]) == -(-case.num_classes // ranks) * ranks
            for key in ("weight", *(["bias"] if case.bias else [])):
                padding = values[key][case.num_classes :]
                np.testing.assert_array_equal(padding, np.zeros_like(padding))


def test_forms_have_the_layouts_they_say(heads: list[dict]) -> None:
    """All cases that ran replicated are broadcast, also where that list is empty."""
    parallel, replicated = heads[0]["sbp"][: len(CASES)], heads[0]["sbp"][len(CASES) :]
    assert all("split(dim=0)" in sbp for sbp in parallel)
    assert all("broadcast" in sbp for sbp in replicated)


def test_accuracy_counts_some_hits_and_some_misses(heads: list[dict]) -> None:
    """Embeddings on their own centres are hits, opposite ones misses; a constant count would fail."""
    for case, values in zip(CASES, heads[0]["extreme"][: len(CASES)], strict=True):
        if case.margin is None:
            continue
        unit = extreme_embeddings(case)[:7] / np.linalg.norm(extreme_embeddings(case)[:7], axis=1, keepdims=True)
        centres = case.weight() / np.linalg.norm(case.weight(), axis=1, keepdims=True)
        hits = int(((unit @ centres.T).argmax(axis=1) == case.labels()[:7]).sum())
        assert 0 < hits < 7
        # The zero embedding is equally near to all classes.
        assert values["correct"] == hits + 1
