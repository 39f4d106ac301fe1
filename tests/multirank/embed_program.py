"""Rank program: embeddings, a verification and averaged statistics of the tiny network with BatchNorm."""

from __future__ import annotations

from typing import Any

import numpy as np

from backbones.execution.backbone import Backbone
from backbones.graph.initializer import initial_arrays
from data.sources.synthetic import SyntheticSource
from data.verification.verification_set import VerificationSet
from engine.embedder import Embedder
from engine.verify import Verifier
from launch.rank import RankReporter
from launch.world import join_world
from ops import flow
from tests.support.tiny import IMAGE_SIZE, tiny_network


def images(count: int) -> np.ndarray:
    source = SyntheticSource(count, count, IMAGE_SIZE)
    return np.stack([source.read(i)[0].transpose(2, 0, 1) for i in range(count)])


def rank_statistics(rank: int) -> dict[str, np.ndarray]:
    """Return the moving statistics that ``rank`` starts from, different on each."""
    mean, variance = np.arange(8, dtype=np.float32) * (rank + 1), np.full(8, 1 + rank, np.float32)
    return {"bn0_moving_mean": mean, "bn0_moving_var": variance}


def main(_: Any) -> dict[str, Any]:
    world = join_world("cpu")
    network = tiny_network(batch_norm=True)
    arrays = initial_arrays(network, 1)
    backbone = Backbone(network, arrays).to_global(world.placement, flow.sbp.broadcast)
    embed = Embedder(backbone, world, batch_size=5)
    faces = images(12)
    result: dict[str, Any] = {"batch_size": embed.batch_size}
    backbone.train()
    result["embeddings"] = np.concatenate([embed(faces[:5]), embed(faces[5:8]), embed(faces[8:9])])
    result["training"] = backbone.training
    faces_set = VerificationSet("made_up", faces, np.arange(12), np.tile([True, False], 3))
    beats = []
    reporter = RankReporter()
    reporter.heartbeat = lambda: beats.append(1)
    (numbers,) = Verifier([faces_set], embed, 2, (), reporter).run()
    result["verification"] = (numbers.name, numbers.pairs, numbers.accuracy, numbers.xnorm)
    result["beats"] = len(beats)

    backbone.load_arrays({**arrays, **rank_statistics(world.rank)})
    backbone.average_statistics(world.average)
    result["statistics"] = {name: backbone.named_arrays()[name] for name in rank_statistics(0)}
    result["unaveraged"] = {name: a for name, a in backbone.named_arrays().items() if name not in rank_statistics(0)}
    result["after"] = embed(faces[:5])  # the compiled graph must see the new statistics
    return result
