"""Rank program: every head of ``head_cases`` in both forms, a few in each compiled graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from launch.world import join_world
from ops import flow
from ops.heads.all_rows import MarginSoftmaxHead
from ops.heads.layout import HeadLayout
from ops.heads.options import HeadOptions
from ops.runtime.tensors import local_view
from tests.support.head_cases import (
    CASES,
    EMB_SIZE,
    FORMS,
    SEED,
    HeadCase,
    extreme_embeddings,
    loss_options,
    usual_embeddings,
)

WORLD = join_world("cpu")
HEADS_OF_A_GRAPH = 3  # compiling takes the longer for each head, the more heads there are


def make_head(case: HeadCase, model_parallel: bool) -> MarginSoftmaxHead:
    options = HeadOptions(
        case.num_classes, EMB_SIZE, loss_options(case.margin, case.scale), fc7_no_bias=not case.bias, seed=SEED
    )
    make_layout = HeadLayout.model_parallel if model_parallel else HeadLayout.replicated
    head = MarginSoftmaxHead(options, make_layout(WORLD.placement, WORLD.rank))
    if case.bias:
        start, stop = head.shards.real_rows(head.shard)
        local = np.full(head.shards.rows, 50, np.float32)  # a padding row with a large bias must still not count
        local[: stop - start] = case.bias_values()[start:stop]
        local_view(head.bias).copy_(flow.tensor(local))
    return head


class HeadsGraph(flow.nn.Graph):
    """Embeddings [B, E] and labels [B] of each head, split(0), to every head's loss, count and gradients."""

    def __init__(self, heads: list[MarginSoftmaxHead]) -> None:
        super().__init__()
        self.heads = flow.nn.ModuleList(heads)
        self.config.proto.train_conf.SetInParent()

    def build(self, *inputs: flow.Tensor) -> list[flow.Tensor]:
        pairs = list(zip(self.heads, inputs[::2], inputs[1::2], strict=True))
        for embeddings in inputs[::2]:
            embeddings.requires_grad_()
        results = [head(embeddings, labels) for head, embeddings, labels in pairs]
        # One graph has one backward pass; the sum keeps the heads' gradients apart.
        total = sum(loss for loss, *_ in results)
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(total)
        wanted = [t for (_, x, _), result in zip(pairs, results, strict=True) for t in (x, *result[3])]
        gradients = iter(flow.autograd.grad([total], wanted))
        outputs = []
        for (head, _, _), (loss, correct, *_) in zip(pairs, results, strict=True):
            own = [next(gradients) for _ in range(1 + len(list(head.parameters())))]
            outputs += [value.to_global(sbp=flow.sbp.broadcast) for value in (loss.detach(), correct.detach(), *own)]
        return outputs


def read_outputs(outputs: list[flow.Tensor], heads: list[MarginSoftmaxHead]) -> list[dict[str, np.ndarray]]:
    arrays = iter([output.to_local().numpy().copy() for output in outputs])
    keys = ("loss", "correct", "embeddings", "weight")
    return [{key: next(arrays) for key in (*keys, *(["bias"] if head.bias is not None else []))} for head in heads]


def main(names: list[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what each form of each named case gives: (name, form) -> usual, extreme, sbp."""
    pairs = [(case, form) for form in FORMS for case in CASES if case.name in names]
    results = {}
    for start in range(0, len(pairs), HEADS_OF_A_GRAPH):
        results |= run_heads(pairs[start : start + HEADS_OF_A_GRAPH])
    return results


def run_heads(pairs: list[tuple[HeadCase, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the same of these, whose heads are in one graph."""
    heads = [make_head(case, form == "model_parallel") for case, form in pairs]
    graph = HeadsGraph(heads)
    part = usual_embeddings().shape[0] // WORLD.size
    mine = slice(WORLD.rank * part, (WORLD.rank + 1) * part)
    results = {
        (case.name, form): {"sbp": str(head.weight.sbp[0])} for (case, form), head in zip(pairs, heads, strict=True)
    }
    for kind in ("usual", "extreme"):
        inputs = []
        for case, _ in pairs:
            embeddings = usual_embeddings() if kind == "usual" else extreme_embeddings(case)
            inputs += [WORLD.split(embeddings[mine].copy()), WORLD.split(case.labels()[mine].copy())]
        for result, values in zip(results.values(), read_outputs(graph(*inputs), heads), strict=True):
            result[kind] = values
    return results
