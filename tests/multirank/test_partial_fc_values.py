"""Partial FC on real ranks against the same training in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.partial_fc_cases import CASES, PartialCase, train_reference
from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "partial_fc_program.py"
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(scope="module", params=[1, 2, 3, 4], ids=lambda ranks: f"{ranks}ranks")
def trained(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return run_ranks(PROGRAM, request.param)


def collect(trained: list[dict[str, Any]], case: PartialCase, step: int) -> dict[str, np.ndarray]:
    """Return the classes' arrays after ``step`` (-1: at the start), put together from all ranks."""
    runs = [rank[case.name] for rank in trained]
    states = [run["start"] if step < 0 else run["steps"][step][3] for run in runs]
    return {name: np.concatenate([state[name] for state in states]) for name in states[0]}


def assert_close(actual: np.ndarray, expected: np.ndarray, what: str) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=what)


@by_case
def test_fifty_steps_equal_the_float64_reference(trained: list[dict[str, Any]], case: PartialCase) -> None:
    """Loss, hits, the embeddings' gradient, and through every update the rows' gradients."""
    for number, expected in enumerate(train_reference(case, len(trained))):
        steps = [rank[case.name]["steps"][number] for rank in trained]
        for loss, correct, _, _ in steps:
            assert loss == pytest.approx(expected.loss, rel=1e-5)
            assert correct == expected.correct
        assert_close(np.concatenate([step[2] for step in steps]), expected.embeddings, f"embeddings, step {number}")
        arrays = collect(trained, case, number)
        assert arrays.keys() == expected.arrays.keys()
        for name, array in expected.arrays.items():
            assert_close(arrays[name][: case.num_classes], array, f"{name}, step {number}")


@by_case
def test_rows_that_were_not_sampled_keep_every_bit(trained: list[dict[str, Any]], case: PartialCase) -> None:
    changed = set()
    for number in range(len(trained[0][case.name]["steps"])):
        before, after = collect(trained, case, number - 1), collect(trained, case, number)
        rows = case.sampled(len(trained), number)
        for name in before:
            others = np.setdiff1d(np.arange(len(before[name])), rows)  # with the padding
            np.testing.assert_array_equal(after[name][others], before[name][others], err_msg=name)
        changed |= set(np.flatnonzero((before["weight"] != after["weight"]).any(axis=1)).tolist())
        if case.ratio < 1 and case.num_classes > 5:
            assert len(rows) < case.num_classes
    assert changed and max(changed) < case.num_classes


@by_case
def test_each_rank_holds_and_updates_its_own_shard(trained: list[dict[str, Any]], case: PartialCase) -> None:
    per_rank = -(-case.num_classes // len(trained))
    for rank in trained:
        found = rank[case.name]
        assert found["sbp"] == "oneflow.sbp.split(dim=0)"
        assert found["shape"] == (per_rank * len(trained), 16) and found["own_shape"] == (per_rank, 16)
        assert found["same_memory"]
        assert (found["steps"][-1][3]["weight"] != found["start"]["weight"]).any() or len(trained) == 4
