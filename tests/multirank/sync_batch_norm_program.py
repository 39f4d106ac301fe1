"""Rank program: BatchNorm over all ranks in a compiled graph, and its gradients."""

from __future__ import annotations

import numpy as np

from backbones.execution.sync_batch_norm import normalize
from launch.world import join_world
from ops import flow

WORLD = join_world("cpu")
EPS = 2e-5


class NormaliseGraph(flow.nn.Graph):
    """x and the gradient of y, split(0), gamma and beta to y, moments and the gradients of x, gamma, beta."""

    def __init__(self) -> None:
        super().__init__()
        self.config.proto.train_conf.SetInParent()

    def build(self, x: flow.Tensor, y_gradient: flow.Tensor, gamma: flow.Tensor, beta: flow.Tensor) -> list:
        inputs = [x, gamma, beta]
        for tensor in inputs:
            tensor.requires_grad_()
        y, mean, variance = normalize(x, gamma, beta, EPS)
        loss = (y * y_gradient).sum()
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(loss)
        outputs = [y, mean, variance, *flow.autograd.grad([loss], inputs)]
        return [each.detach().to_global(sbp=flow.sbp.broadcast) for each in outputs]


def main(cases: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Return [y, mean, unbiased variance, gradients of x, gamma, beta] for each [x, y_gradient, gamma, beta]."""

    def broadcast(array: np.ndarray) -> flow.Tensor:
        return flow.tensor(array).to_global(WORLD.placement, flow.sbp.broadcast)

    def split(array: np.ndarray) -> flow.Tensor:
        return WORLD.split(np.ascontiguousarray(np.split(array, WORLD.size)[WORLD.rank]))

    graphs = [NormaliseGraph() for _ in cases]  # kept: OneFlow may abort when a graph over several ranks goes away
    results = []
    for graph, (x, y_gradient, gamma, beta) in zip(graphs, cases, strict=True):
        outputs = graph(split(x), split(y_gradient), broadcast(gamma), broadcast(beta))
        results.append([each.to_local().numpy().copy() for each in outputs])
    return results
