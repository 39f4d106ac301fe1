"""Heads of local tensors in one process compute what graphs over all ranks compute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from common.errors import UserError
from launch.world import World, join_world
from ops import flow
from ops.heads.base import Head
from ops.heads.build import build_head
from ops.heads.options import HeadOptions
from ops.heads.triplet import DISTANCES
from ops.losses.options import LossOptions
from ops.losses.registry import LOSSES

BATCH, EMB_SIZE, CLASSES, STEPS = 6, 16, 13, 3


class _StepGraph(flow.nn.Graph):
    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head
        self.config.proto.train_conf.SetInParent()

    def build(self, embeddings: flow.Tensor, *inputs: flow.Tensor) -> list[flow.Tensor]:
        embeddings.requires_grad_()
        result = self.head(embeddings, *inputs)
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(result.loss)
        (gradient,) = flow.autograd.grad([result.loss], [embeddings])
        return [result.loss, result.correct, result.logged_loss, gradient, *self.head.loss.new_state.values()]


def draw(step: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(step)
    return rng.normal(0, 2, (BATCH, EMB_SIZE)).astype(np.float32), rng.integers(0, CLASSES, BATCH).astype(np.int32)


def run_eager(head: Head) -> list[np.ndarray]:
    seen = []
    for step in range(STEPS):
        embeddings, labels = draw(step)
        embeddings = flow.tensor(embeddings).requires_grad_()
        result = head(embeddings, *head.prepare(labels, step))
        (gradient,) = flow.autograd.grad([result.loss], [embeddings])
        head.loss.set_state(list(head.loss.new_state.values()))
        seen += [value.numpy() for value in (result.loss, result.correct, result.logged_loss, gradient)]
    return seen


def run_graph(head: Head, world: World) -> list[np.ndarray]:
    graph, seen = _StepGraph(head), []
    for step in range(STEPS):
        embeddings, labels = draw(step)
        loss, correct, logged, gradient, *state = graph(world.split(embeddings), *head.prepare(labels, step, world))
        head.loss.set_state(state)
        seen += [value.numpy() for value in (loss, correct, logged, gradient)]
    return seen


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("name", [*LOSSES, *DISTANCES])
def test_a_local_head_computes_what_a_graph_computes(name: str, sharded: bool) -> None:
    loss = LossOptions(name, 16.0, loss_m1=3.0 if name == "sphereface" else 1.0, loss_m3=0.1, loss_t_alpha=0.3)
    sizes = np.arange(1, CLASSES + 1)
    options = HeadOptions(CLASSES, EMB_SIZE, loss, model_parallel=sharded, seed=3, class_sizes=sizes)
    world = join_world("cpu")
    eager, graphed = run_eager(build_head(options)), run_graph(build_head(options, world), world)
    for own, other in zip(eager, graphed, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, CLASSES]), "label 13 is not in 0..12"),
        (np.array([0, -1]), "label -1 is not in 0..12"),
        (np.array([0.0]), "the labels are not a numpy array"),
        (np.array([[0]]), "the labels are not a numpy array"),
        ([0], "the labels are not a numpy array"),
    ],
)
def test_a_local_head_refuses_labels_that_are_no_classes(labels: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_head(HeadOptions(CLASSES, EMB_SIZE)).prepare(labels)


def test_partial_fc_without_ranks_is_refused() -> None:
    with pytest.raises(UserError, match="partial_fc has no effect; build it with ranks"):
        build_head(HeadOptions(CLASSES, EMB_SIZE, partial_fc=True, sample_ratio=0.5))


def test_bfloat16_rows_are_refused_where_graphs_cannot_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    options = HeadOptions(CLASSES, EMB_SIZE, fc7_dtype="bf16")
    with pytest.raises(UserError, match="bf16 class rows are read in place by graphs over ranks"):
        build_head(options)
    message = r"--fc7_dtype bf16 needs the CPU kernels, a CPU and a loss other than inter.*\(CPU kernels: .*\); omit it"
    for changes in ({"loss": LossOptions("inter", 16.0)}, {}):
        if not changes:
            monkeypatch.setattr("ops.native.rows.NativeRows.available", lambda: False)
        with pytest.raises(UserError, match=message):
            build_head(replace(options, **changes), join_world("cpu"))
