"""Rank program: a search in a gallery that the ranks share."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.shared_search import best_shared_matches
from launch.world import join_world
from ops.search import NativeScoreKernel


def main(bounds: list[int]) -> Any:
    world = join_world("cpu")
    rng = np.random.default_rng(0)
    probes, gallery = (rng.integers(-2, 3, (rows, 6)).astype(np.float32) / 16 for rows in (20, 500))
    shard = gallery[bounds[world.rank] : bounds[world.rank + 1]]
    found = best_shared_matches(world, NativeScoreKernel(1), probes, shard, 9, is_unit=True)
    return probes, gallery, found
