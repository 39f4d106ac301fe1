"""Both triplet losses on the same embeddings, spread over the ranks."""

from __future__ import annotations

import numpy as np

from launch.world import World
from ops import flow
from ops.heads.build import build_head
from ops.heads.options import HeadOptions
from ops.losses.options import LossOptions
from ops.runtime.tensors import local_view
from tests.support.triplet_reference import ALPHAS, SEEDS, draw_embeddings


class TripletGraph(flow.nn.Graph):
    """Embeddings [B, E] and labels, split(0), to loss, correct, lossvalue and the embeddings' gradient."""

    def __init__(self, name: str, world: World) -> None:
        super().__init__()
        self.head = build_head(HeadOptions(loss=LossOptions(name, triplet_alpha=ALPHAS[name])), world)
        self.config.proto.train_conf.SetInParent()

    def build(self, embeddings: flow.Tensor, labels: flow.Tensor) -> list[flow.Tensor]:
        embeddings.requires_grad_()
        loss, correct, logged_loss, trained = self.head(embeddings, labels)
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(loss)
        gradients = flow.autograd.grad([loss], [embeddings, *trained])
        values = [value.detach() for value in (loss, correct, logged_loss)]
        return [value.to_global(sbp=flow.sbp.broadcast) for value in (*values, *gradients)]


def run_triplets(graph: TripletGraph, world: World) -> list[list[np.ndarray]]:
    """Return of every seed what ``graph`` returns."""
    results = []
    for seed in SEEDS:
        mine = np.split(draw_embeddings(seed), world.size)[world.rank].copy()
        inputs = graph.head.prepare(np.zeros(len(mine), np.int32), 0, world)
        results.append([local_view(value).numpy().copy() for value in graph(world.split(mine), *inputs)])
    return results
