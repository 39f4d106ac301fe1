"""Rank program: sums of arrays over the ranks, in place."""

from __future__ import annotations

import numpy as np

from launch.world import join_world


def main(sizes: list[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return this rank's arrays of the given sizes, and what they are after the call."""
    world = join_world("cpu")
    rng = np.random.default_rng(world.rank)
    arrays = [rng.standard_normal(size).astype(np.float32) for size in sizes]
    given = [array.copy() for array in arrays]
    world.add_up(arrays)
    return given, arrays
