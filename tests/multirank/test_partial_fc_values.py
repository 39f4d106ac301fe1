"""Partial FC on real ranks against the same training in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.partial_fc_cases import CASES, PartialCase, train_reference
from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "partial_fc_program.py"
ALL = [case.name for case in CASES]
# Compiling is slow, so the others are in the slow suite.
QUICK = {1: ["softmax", "arcface"], 2: ALL, 3: ["arcface"], 4: ["few_classes"]}
SLOW = {ranks: [name for name in ALL if name not in QUICK[ranks]] for ranks in QUICK}


def marks(ranks: int, case: PartialCase) -> list[pytest.MarkDecorator]:
    return [] if case.name in QUICK[ranks] else [pytest.mark.slow]


by_case = pytest.mark.parametrize(
    ("ranks", "case"),
    [pytest.param(n, case, marks=marks(n, case), id=f"{n}-{case.name}") for n in QUICK for case in CASES],
)


@pytest.fixture(scope="module")
def train() -> Callable[[int, PartialCase], list[dict[str, Any]]]:
    """A function that returns each rank's results for a case; cases of a group run together."""
    run = functools.cache(lambda ranks, names: run_ranks(PROGRAM, ranks, list(names)))

    def train(ranks: int, case: PartialCase) -> list[dict[str, Any]]:
        names = QUICK[ranks] if case.name in QUICK[ranks] else SLOW[ranks]
        return [rank[case.name] for rank in run(ranks, tuple(names))]

    return train


def collect(runs: list[dict[str, Any]], step: int) -> dict[str, np.ndarray]:
    """Return the classes' arrays after ``step`` (-1: at the start), put together from all ranks."""
    states = [run["start"] if step < 0 else run["steps"][step][3] for run in runs]
    return {name: np.concatenate([state[name] for state in states]) for name in states[0]}


def assert_close(actual: np.ndarray, expected: np.ndarray, what: str) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=what)


@by_case
def test_twenty_steps_equal_the_float64_reference(train: Callable, ranks: int, case: PartialCase) -> None:
    """Loss, hits, the embeddings' gradient, and through every update the rows' gradients."""
    runs = train(ranks, case)
    for number, expected in enumerate(train_reference(case, ranks)):
        steps = [run["steps"][number] for run in runs]
        for loss, correct, _, _ in steps:
            assert loss == pytest.approx(expected.loss, rel=1e-5)
            assert correct == expected.correct
        assert_close(np.concatenate([step[2] for step in steps]), expected.embeddings, f"embeddings, step {number}")
        arrays = collect(runs, number)
        assert arrays.keys() == expected.arrays.keys()
        for name, array in expected.arrays.items():
            assert_close(arrays[name][: case.num_classes], array, f"{name}, step {number}")


@by_case
def test_rows_that_were_not_sampled_keep_every_bit(train: Callable, ranks: int, case: PartialCase) -> None:
    runs, changed = train(ranks, case), set()
    for number in range(len(runs[0]["steps"])):
        before, after = collect(runs, number - 1), collect(runs, number)
        rows = case.sampled(ranks, number)
        for name in before:
            others = np.setdiff1d(np.arange(len(before[name])), rows)  # with the padding
            np.testing.assert_array_equal(after[name][others], before[name][others], err_msg=name)
        changed |= set(np.flatnonzero((before["weight"] != after["weight"]).any(axis=1)).tolist())
        if case.ratio < 1 and case.num_classes > 5:
            assert len(rows) < case.num_classes
    assert changed and max(changed) < case.num_classes


@by_case
def test_each_rank_holds_and_updates_its_own_shard(train: Callable, ranks: int, case: PartialCase) -> None:
    per_rank = -(-case.num_classes // ranks)
    for found in train(ranks, case):
        assert found["sbp"] == "oneflow.sbp.split(dim=0)"
        assert found["shape"] == (per_rank * ranks, 16) and found["own_shape"] == (per_rank, 16)
        assert found["same_memory"]
        padding_only = (found["start"]["weight"] == 0).all()
        assert padding_only or (found["steps"][-1][3]["weight"] != found["start"]["weight"]).any()
