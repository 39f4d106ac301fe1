"""Gradients are summed over the ranks where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from launch.world import _PIECE, _SMALL
from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "sums_program.py"
SIZES = [1, _SMALL + 1, 7, _SMALL, _PIECE + 3, *[_SMALL - 5] * (_PIECE // _SMALL + 1), 64]


@pytest.mark.parametrize("ranks", [1, 2])
def test_sums_in_place(ranks: int) -> None:
    results = run_ranks(PROGRAM, ranks, SIZES)
    for number, size in enumerate(SIZES):
        expected = np.sum([given[number] for given, _ in results], axis=0)
        for _, summed in results:
            assert summed[number].shape == (size,)
            np.testing.assert_array_equal(summed[number], expected)
