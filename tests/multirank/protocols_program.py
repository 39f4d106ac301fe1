"""Rank program: the protocols of a training with the tiny network, and a search that the ranks share."""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones.execution.backbone import Backbone
from backbones.graph.initializer import initial_arrays
from engine.protocols.runner import ProtocolRunner
from engine.shared_search import SharedScoreKernel
from engine.verify import open_verifier
from launch.rank import RankReporter
from launch.world import World, join_world
from ops import flow
from ops.search import NativeScoreKernel
from tests.support.tiny import IMAGE_SIZE, tiny_network


def main(config: dict[str, Any]) -> dict[str, Any]:
    world, network = join_world("cpu"), tiny_network()
    backbone = Backbone(network, initial_arrays(network, 3)).to_global(world.placement, flow.sbp.broadcast)
    verifier = open_verifier({**config, "image_size": IMAGE_SIZE}, backbone, world, RankReporter())
    outcomes = ProtocolRunner(config, verifier, world, RankReporter()).run(verifier.run())
    found = {outcome.name: (outcome.log_lines(5), outcome.numbers) for outcome in outcomes}
    return {"outcomes": found, "search": search(world)}


def search(world: World) -> list[np.ndarray]:
    """Everything that a scan gives: best matches, counts above thresholds, histogram and scores, with many ties."""
    rng = np.random.default_rng(0)
    probes, gallery = (rng.integers(-2, 3, (rows, 6)).astype(np.float32) / 16 for rows in (20, 103))
    best = (np.full((20, 7), -np.inf, np.float32), np.full((20, 7), -1, np.int64))
    thresholds = np.sort(rng.integers(-9, 9, 40).astype(np.float32) / 256 / 2)
    thresholds = (
        np.concatenate([thresholds[0::2], thresholds[1::2]]),
        np.r_[0, np.full(19, 20), 40],
        np.zeros(40, int),
    )
    histogram, scores = np.zeros(2 * 64 + 1, np.int64), np.empty((20, 3), np.float32)
    kernel = SharedScoreKernel(world, NativeScoreKernel(1), smallest=2)
    for start, stop in ((0, 100), (100, 103)):
        kernel.scan(probes, gallery[start:stop], start, best, thresholds, histogram)
    kernel.scan(probes, gallery[:3], scores=scores)
    order = np.lexsort((best[1], -best[0]), axis=1)
    return [*(np.take_along_axis(part, order, 1) for part in best), thresholds[2], histogram, scores]
