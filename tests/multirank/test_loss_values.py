"""Every loss in every form of the head, on real ranks, against float64."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.loss_cases import CASES, FORMS, STEPS, LossCase
from tests.support.loss_reference import FIRST_STATE, LossValues, compute_loss
from tests.support.ranks import run_ranks
from tests.support.triplet_reference import ALPHAS, SAME, SEEDS, compute_triplets, draw_embeddings

PROGRAM = Path(__file__).parent / "losses_program.py"


def _marks(ranks: int, case: LossCase | None = None) -> list[pytest.MarkDecorator]:
    return [] if ranks == 2 and (case is None or not case.is_slow) else [pytest.mark.slow]


RANKS = (1, 2, 3)
# Compiling is slow, so only these run in the quick suite, on two ranks.
QUICK = [case for case in CASES if not case.is_slow]
by_ranks = pytest.mark.parametrize("ranks", [pytest.param(n, marks=_marks(n)) for n in RANKS])
by_case = pytest.mark.parametrize(
    ("ranks", "case"),
    [pytest.param(n, case, marks=_marks(n, case), id=f"{n}-{case.name}") for n in RANKS for case in CASES],
)
by_form = pytest.mark.parametrize("form", FORMS)


@functools.cache
def run(ranks: int, is_quick: bool) -> list[dict]:
    """Return the results of every rank: form -> steps of case -> values."""
    return run_ranks(PROGRAM, ranks, [case.name for case in (QUICK if is_quick else CASES)])


def results(ranks: int, case: LossCase) -> list[dict]:
    return run(ranks, ranks == 2 and case in QUICK)


@functools.cache
def reference(case: LossCase, partial_of: int) -> list[LossValues]:
    """Return every step; with Partial FC on ``partial_of`` ranks, or with all classes (0)."""
    state, steps = FIRST_STATE[case.config["loss_name"]], []
    classes = case.classes_in_step(partial_of)
    if "s" in state:
        state = {"s": np.sqrt(2) * np.log(classes - 1)}
    threshold = np.log(10 * classes)
    for step in range(STEPS):
        weight, labels = case.weight(), case.labels(step)
        if partial_of:
            sampled, _ = case.sampled(partial_of, step)
            weight, labels = weight[case.rows(sampled)], np.searchsorted(sampled, labels)
        given = (case.config, case.embeddings(step), weight, labels, state, case.margins(step), threshold)
        steps.append(compute_loss(*given))
        state = steps[-1].state
    return steps


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@by_form
@by_case
def test_steps_equal_the_float64_reference(ranks: int, case: LossCase, form: str) -> None:
    """Loss, hits, gradients of embeddings and rows, and the state that moves from step to step."""
    partial = form == "partial_fc"
    for forms in results(ranks, case):
        for step, expected in enumerate(reference(case, ranks * partial)):
            values: dict[str, Any] = forms[form][step][case.name]
            np.testing.assert_allclose(values["loss"], expected.loss, rtol=1e-5)
            np.testing.assert_allclose(values["cross_entropy"], expected.cross_entropy, rtol=1e-5)
            assert values["correct"] == expected.correct
            assert_close(values["embeddings"], expected.embeddings)
            rows = case.rows(case.sampled(ranks, step)[1] if partial else np.arange(case.num_classes))
            assert_close(values["weight"][rows], expected.weight)
            others = np.delete(values["weight"], rows, axis=0)
            np.testing.assert_array_equal(others, np.zeros_like(others))
            if expected.threshold is not None:
                np.testing.assert_allclose(values["b"], expected.threshold[0], rtol=2e-5)
            assert values["state"] == pytest.approx(expected.state, rel=1e-5)


@by_form
@by_case
def test_ranks_have_the_same_state(ranks: int, case: LossCase, form: str) -> None:
    for step in range(STEPS):
        states = [forms[form][step][case.name]["state"] for forms in results(ranks, case)]
        assert all(state == states[0] for state in states)
        assert states[0].keys() == FIRST_STATE[case.config["loss_name"]].keys()


@by_ranks
@pytest.mark.parametrize("name", ALPHAS)
def test_triplet_losses_equal_the_float64_reference(ranks: int, name: str) -> None:
    for result in run(ranks, ranks == 2):
        for seed, (loss, correct, shown, gradient) in zip(SEEDS, result["triplets"][name], strict=True):
            expected = compute_triplets(name, draw_embeddings(seed))
            np.testing.assert_allclose(loss, expected[0], rtol=1e-4)
            assert shown == loss
            assert abs(correct - expected[1]) in (0, 3)  # equal images may count either way
            assert np.isfinite(gradient).all()
            usual = np.arange(len(gradient)) // 3 != SAME
            atol = 2e-5 * np.abs(expected[2]).max()
            np.testing.assert_allclose(gradient[usual], expected[2][usual], rtol=0, atol=atol)
