"""Both triplet losses on the same embeddings, spread over the ranks."""

from __future__ import annotations

import numpy as np

from launch.world import World, local_view
from ops import flow
from ops.heads.build import build_head
from tests.support.triplet_reference import ALPHAS, SEEDS, draw_embeddings


class TripletGraph(flow.nn.Graph):
    """Embeddings [B, E] and labels, split(0), to loss, correct, lossvalue and the embeddings' gradient."""

    def __init__(self, name: str, world: World) -> None:
        super().__init__()
        self.head = build_head({"loss_name": name, "triplet_alpha": ALPHAS[name]}, world.placement, world.rank)
        self.config.proto.train_conf.SetInParent()

    def build(self, embeddings: flow.Tensor, labels: flow.Tensor) -> list[flow.Tensor]:
        embeddings.requires_grad_()
        loss, correct, shown = self.head(embeddings, labels)
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(loss)
        gradients = flow.autograd.grad([loss], [embeddings, *self.head.find_trained(labels)])
        values = [value.detach() for value in (loss, correct, shown)]
        return [value.to_global(sbp=flow.sbp.broadcast) for value in (*values, *gradients)]


def run_triplets(graph: TripletGraph, world: World) -> list[list[np.ndarray]]:
    """Return of every seed what ``graph`` returns."""
    results = []
    for seed in SEEDS:
        mine = np.split(draw_embeddings(seed), world.size)[world.rank].copy()
        inputs = graph.head.inputs(np.zeros(len(mine), np.int32), 0, world)
        results.append([local_view(value).numpy().copy() for value in graph(world.split(mine), *inputs)])
    return results
