"""Rank program: each way of ``tests.support.divergence`` for one step, with a teacher and without one."""

from __future__ import annotations

from typing import Any

import numpy as np

from launch.world import join_world
from ops import flow
from ops.heads.base import ClassHead
from ops.heads.build import build_head
from ops.heads.partial_fc import PartialFCHead
from ops.native.rows import NativeRows
from ops.runtime.tensors import local_view
from tests.support.divergence import BATCH, TEACHER_SIZE, WAYS, draw_inputs, make_options, read_rows

WORLD = join_world("cpu")
STEP = 4


class StepGraph(flow.nn.Graph):
    def __init__(self, head: ClassHead) -> None:
        super().__init__()
        self.head = head
        self.config.proto.train_conf.SetInParent()

    def build(self, embeddings: flow.Tensor, taught: flow.Tensor, *inputs: flow.Tensor) -> list[flow.Tensor]:
        embeddings.requires_grad_()
        own = {"taught": taught} if self.head.learns_classes else {}
        result = self.head(embeddings, *inputs, **own)
        loss = result.loss.to_global(sbp=flow.sbp.broadcast)
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(loss)
        by_embeddings, *by_rows = flow.autograd.grad([loss], [embeddings, *result.trained])
        by_rows = [g.to_global(sbp=sbp) for g, sbp in zip(by_rows, self.head.gradient_sbps, strict=True)]
        parts = [loss.detach(), result.logged_loss.detach(), by_embeddings]
        return [*(part.to_global(sbp=flow.sbp.broadcast) for part in parts), *by_rows]


def run_step(head: ClassHead, graph: StepGraph) -> dict[str, Any]:
    """Return what one step gives: losses, the gradients of embeddings and of this rank's rows, and which took part."""
    student, teacher, labels = draw_inputs()
    part = BATCH // WORLD.size
    mine = slice(WORLD.rank * part, (WORLD.rank + 1) * part)
    split = [WORLD.split(array[mine].copy()) for array in (student, teacher)]
    prepared = head.prepare(labels[mine].copy(), STEP, WORLD)
    loss, logged, by_embeddings, *by_rows = graph(*split, *prepared)
    gradient = head.row_gradients(by_rows)[-1]  # after those of the numbers that a loss trains
    start, stop = head.shards.real_rows(head.shard)
    sampled, own = np.arange(stop - start), local_view(gradient).numpy()
    if isinstance(head, PartialFCHead) and not head.sampling.samples_all_classes:
        sampled = head.sampling.draw(head.shard, labels, STEP)
    by_class = np.zeros((stop - start, head.centres, head.emb_size), np.float32)
    by_class[sampled] = own[: len(sampled) * head.centres].reshape(len(sampled), head.centres, -1)
    return {
        "loss": float(loss.to_local().numpy()),
        "logged": float(logged.to_local().numpy()),
        "embeddings": by_embeddings.to_local().numpy().copy(),
        "rows": by_class,
        "classes": start + sampled,
    }


def main(names: list[str]) -> dict[str, Any]:
    """Return by name of a way the step without and with a teacher, and this rank's rows."""
    found, available = {}, NativeRows.available
    for name in names:
        way = WAYS[name]
        if not way.get("kernels", True):
            NativeRows.available = staticmethod(lambda: False)
        try:
            heads = [build_head(make_options(way), WORLD) for _ in range(2)]
            centres = way.get("taught", 1)
            heads[1].learn_from(read_rows(centres), TEACHER_SIZE, centres)
            without, taught = (run_step(head, StepGraph(head)) for head in heads)
        finally:
            NativeRows.available = available
        start, stop = heads[0].shards.real_rows(heads[0].shard)
        rows = heads[0].read_centres(np.arange((stop - start) * heads[0].centres))
        kind = type(heads[0]).__name__
        rows = rows.reshape(stop - start, heads[0].centres, -1).copy()
        found[name] = {"without": without, "taught": taught, "own_rows": rows, "kind": kind}
    return found
