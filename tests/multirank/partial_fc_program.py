"""Rank program: every case of ``partial_fc_cases`` trained for some steps, all in one compiled graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.gradients import gradient_norm, multiply_gradients
from launch.world import join_world
from ops import flow
from ops.heads.layout import HeadLayout
from ops.heads.options import HeadOptions
from ops.heads.partial_fc import PartialFCHead
from ops.runtime.tensors import local_view
from ops.update_rules import AdamWRule, MomentumRule, UpdateRule
from tests.support.head_cases import loss_options
from tests.support.partial_fc_cases import (
    ADAMW,
    BATCH,
    CASES,
    EMB_SIZE,
    LR,
    MOMENTUM,
    SEED,
    STEPS,
    WEIGHT_DECAY,
    PartialCase,
)

WORLD = join_world("cpu")
RULE = MomentumRule(LR, MOMENTUM, WEIGHT_DECAY)


def make_rule(case: PartialCase, step: int) -> UpdateRule:
    return AdamWRule(**ADAMW, step=step + 1) if case.adamw else RULE


def make_head(case: PartialCase) -> PartialFCHead:
    options = HeadOptions(
        case.num_classes,
        EMB_SIZE,
        loss_options(case.margin, case.scale),
        partial_fc=True,
        sample_ratio=case.ratio,
        train_batch_size=BATCH,
        fc7_no_bias=not case.bias,
        seed=SEED,
    )
    return PartialFCHead(options, HeadLayout.model_parallel(WORLD.placement, WORLD.rank))


class HeadsGraph(flow.nn.Graph):
    """Of each head in turn: embeddings [B, E] split(0) and its inputs, to loss, count and gradients."""

    def __init__(self, heads: list[PartialFCHead]) -> None:
        super().__init__()
        self.heads = flow.nn.ModuleList(heads)
        self.config.proto.train_conf.SetInParent()

    def build(self, *inputs: flow.Tensor) -> list[flow.Tensor]:
        given, wanted, losses, counts = iter(inputs), [], [], []
        for head in self.heads:
            embeddings = next(given).requires_grad_()
            own = [next(given) for _ in range(2 + len(head.banks))]
            loss, correct, _, trained = head(embeddings, *own)
            wanted += [embeddings, *trained]
            losses.append(loss)
            counts.append(correct.detach().to_global(sbp=flow.sbp.broadcast))
        total = sum(losses)
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(total)
        gradients = [g.to_global(sbp=flow.sbp.split(0)) for g in flow.autograd.grad([total], wanted)]
        return [*(loss.detach().to_global(sbp=flow.sbp.broadcast) for loss in losses), *counts, *gradients]


def state(head: PartialFCHead, case: PartialCase) -> dict[str, np.ndarray]:
    """Return this rank's rows and their moments, padding included."""
    arrays = {name: local_view(parameter).numpy().copy() for name, parameter in head.named_parameters()}
    arrays |= {f"{name}_momentum": bank.view_momentum().copy() for name, bank in head.banks.items()}
    if case.adamw:
        arrays |= {f"{name}_variance": bank.view_variance().copy() for name, bank in head.banks.items()}
    return arrays


def main(names: list[str]) -> dict[str, Any]:
    """Return for each named case the start and every step, and facts about the weight."""
    cases = [case for case in CASES if case.name in names]
    heads = [make_head(case) for case in cases]
    addresses = [local_view(head.weight).numpy().ctypes.data for head in heads]
    graph = HeadsGraph(heads)
    part = BATCH // WORLD.size
    mine = slice(WORLD.rank * part, (WORLD.rank + 1) * part)
    result = {case.name: {"start": state(head, case), "steps": []} for case, head in zip(cases, heads, strict=True)}
    for step in range(STEPS):
        inputs = []
        for case, head in zip(cases, heads, strict=True):
            inputs.append(WORLD.split(case.embeddings(step)[mine].copy()))
            inputs += head.prepare(case.labels(step)[mine].copy(), step, WORLD)
        outputs = iter(graph(*inputs))
        losses, counts = ([float(next(outputs).to_local().numpy()) for _ in heads] for _ in range(2))
        for case, head, loss, correct in zip(cases, heads, losses, counts, strict=True):
            embeddings = next(outputs)
            gradients = [embeddings, *head.row_gradients([next(outputs) for _ in head.banks])]
            embeddings = local_view(embeddings).numpy().copy()
            if case.clip:
                multiply_gradients(gradients, min(1.0, case.clip / gradient_norm(gradients, WORLD)))
            for bank, gradient in zip(head.banks.values(), gradients[1:], strict=True):
                bank.update(local_view(gradient), make_rule(case, step))
            result[case.name]["steps"].append((loss, correct, embeddings, state(head, case)))
    for case, head, address in zip(cases, heads, addresses, strict=True):
        own = local_view(head.weight).numpy()
        result[case.name] |= {
            "sbp": str(head.weight.sbp[0]),
            "shape": tuple(head.weight.shape),
            "own_shape": own.shape,
            "same_memory": own.ctypes.data == address,
        }
    return result
