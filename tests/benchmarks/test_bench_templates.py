"""The rows of bench_evaluation.py on templates, with a set of a few hundred images."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import template_rows
from benchmarks.template_rows import HEADER, Sizes, Turn, compare


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_rows, "_BATCHED_PAIRS", 50)
    monkeypatch.setattr(Sizes, "of", lambda share: Sizes(300, 6, 30, 120, 20))
    rows = template_rows.run(quick=True, rounds=2)
    assert [row.label for row in rows] == [
        "pool 300 images, by template, into 36 templates",
        "pool 300 images, in mixed order, into 36 templates",
        "score 120 pairs",
        "ROC curve of 120 scores",
    ]
    assert all(len(row.cells()) == len(HEADER) and row.ratio > 0 for row in rows)


def test_sizes_are_those_of_ijb_c() -> None:
    assert Sizes.of(1) == Sizes(469_375, 3_531, 19_593, 15_658_489, 19_557)


def test_different_numbers_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sizes, "of", lambda share: Sizes(300, 6, 30, 120, 20))
    monkeypatch.setattr(template_rows, "score_in_batches", lambda features, first, second: np.ones(len(first)))
    with pytest.raises(RuntimeError, match="the scores differ"):
        template_rows.run(quick=True, rounds=1)


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    turns = [(Turn(1, 2), Turn(10, 10)), (Turn(2, 2), Turn(40, 20)), (Turn(1, 2), Turn(30, 30))]
    assert compare(turns, 2.0) == (1, 60, 40, 20)
