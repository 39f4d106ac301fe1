"""Rank program: cases of ``loss_cases`` in every form of the head for some steps.

And the triplet losses. A compiled graph holds a few heads of one form.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

from launch.world import join_world
from ops import flow
from ops.heads.base import Head
from ops.heads.build import build_head
from ops.heads.options import HeadOptions
from ops.runtime.tensors import local_view
from tests.support.loss_cases import BATCH, CASES, EMB_SIZE, FORMS, RATIO, SEED, STEPS, LossCase
from tests.support.triplet_reference import ALPHAS
from tests.support.triplet_run import TripletGraph, run_triplets

WORLD = join_world("cpu")
HEADS_OF_A_GRAPH = 3  # compiling takes the longer for each head, the more heads there are


def make_head(case: LossCase, form: str) -> Head:
    of_form = {"model_parallel": form != "replicated", "partial_fc": form == "partial_fc", "sample_ratio": RATIO}
    sizes = {
        "num_classes": case.num_classes,
        "emb_size": EMB_SIZE,
        "train_batch_size": BATCH,
        "seed": SEED,
        "class_sizes": case.sizes,
    }
    return build_head(HeadOptions.from_config({**case.config, **of_form, **sizes}), WORLD)


class HeadsGraph(flow.nn.Graph):
    """Of each head in turn: embeddings [B, E] split(0) and its inputs, to loss, count, gradients and state."""

    def __init__(self, heads: list[Head]) -> None:
        super().__init__()
        self.heads = flow.nn.ModuleList(heads)
        self.states = [head.loss.new_state for head in heads]
        self.config.proto.train_conf.SetInParent()

    def build(self, *inputs: flow.Tensor) -> list[flow.Tensor]:
        given, wanted, results = iter(inputs), [], []
        for head in self.heads:
            embeddings = next(given).requires_grad_()
            count = head.image_inputs + (2 if head.banks else 0)  # with samples also padding and rows
            own = [next(given) for _ in range(count)]
            results.append(head(embeddings, *own))
            wanted += [embeddings, *results[-1][3]]
        total = sum(loss for loss, *_ in results)
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(total)
        gradients = iter(flow.autograd.grad([total], wanted))
        outputs = []
        for head, (loss, correct, cross_entropy, _), state in zip(self.heads, results, self.states, strict=True):
            values = [loss.detach(), correct.detach(), cross_entropy.detach(), next(gradients)]
            outputs += [value.to_global(sbp=flow.sbp.broadcast) for value in values]
            outputs.append(next(gradients).to_global(sbp=head.weight.sbp))
            outputs += [next(gradients).to_global(sbp=flow.sbp.broadcast) for _ in head.loss.trained_numbers()]
            outputs += state.values()
        return outputs


def train(form: str, cases: Sequence[LossCase]) -> list[dict[str, dict[str, Any]]]:
    """Return of every step loss, correct, gradients and state by case."""
    groups = [cases[start : start + HEADS_OF_A_GRAPH] for start in range(0, len(cases), HEADS_OF_A_GRAPH)]
    trained = [train_together(form, group) for group in groups]
    return [functools.reduce(operator.or_, results) for results in zip(*trained, strict=True)]


def train_together(form: str, cases: Sequence[LossCase]) -> list[dict[str, dict[str, Any]]]:
    """Return the same of these cases, whose heads are in one graph."""
    heads = [make_head(case, form) for case in cases]
    graph = HeadsGraph(heads)
    part = BATCH // WORLD.size
    mine = slice(WORLD.rank * part, (WORLD.rank + 1) * part)
    steps = []
    for step in range(STEPS):
        inputs = []
        for case, head in zip(cases, heads, strict=True):
            inputs.append(WORLD.split(case.embeddings(step)[mine].copy()))
            inputs += head.prepare(case.labels(step)[mine].copy(), step, WORLD)
        outputs = iter(graph(*inputs))
        result = {}
        for case, head in zip(cases, heads, strict=True):
            names = ("loss", "correct", "cross_entropy", "embeddings", "weight")
            values = {name: next(outputs) for name in (*names, *head.loss.trained_numbers())}
            values["weight"] = head.row_gradients([values["weight"]])[0].to_global(sbp=flow.sbp.broadcast)
            result[case.name] = {name: local_view(value).numpy().copy() for name, value in values.items()}
            head.loss.set_state([next(outputs) for _ in head.loss.new_state])
            result[case.name]["state"] = head.loss.read_state()
        steps.append(result)
    return steps


def main(names: list[str]) -> dict[str, Any]:
    """Return what ``train`` does of every form with the named cases, and the triplet losses' values."""
    cases = [case for case in CASES if case.name in names]
    graphs = {name: TripletGraph(name, WORLD) for name in ALPHAS}
    triplets = {name: run_triplets(graph, WORLD) for name, graph in graphs.items()}
    return {**{form: train(form, cases) for form in FORMS}, "triplets": triplets}
