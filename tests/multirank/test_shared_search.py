"""Ranks that share a gallery find what one finds, ties included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.ranks import run_ranks

PROGRAM = Path(__file__).parent / "search_program.py"


@pytest.mark.parametrize("bounds", [[0, 500], [0, 250, 500], [0, 4, 500], [0, 0, 500]])
def test_shared_gallery(bounds: list[int]) -> None:
    for probes, gallery, (scores, numbers) in run_ranks(PROGRAM, len(bounds) - 1, bounds):
        exact = probes.astype(float) @ gallery.astype(float).T
        order = np.argsort(-exact, axis=1, kind="stable")[:, :9]
        assert np.array_equal(numbers, order)
        assert np.array_equal(scores, np.take_along_axis(exact, order, 1))
