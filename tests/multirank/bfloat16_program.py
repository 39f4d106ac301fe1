"""Rank program: heads with bfloat16 rows in every form, one step in one compiled graph, then updates that are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from launch.world import World, join_world
from ops import flow
from ops.heads.build import build_head
from ops.heads.options import HeadOptions
from ops.heads.partial_fc import PartialFCHead
from ops.runtime.graph import Graph
from ops.update_rules import AdamWRule, MomentumRule
from tests.support.head_cases import BATCH, CASES, EMB_SIZE, SEED, loss_options, usual_embeddings

WORLD = join_world("cpu")
FORMS = {
    "model_parallel": {},
    "replicated": {"model_parallel": False},
    "partial_fc": {"partial_fc": True, "sample_ratio": 0.6},
}
PAIRS = (("model_parallel", "softmax"), ("replicated", "softmax"), ("replicated", "arcface"), ("partial_fc", "arcface"))
RULES = (MomentumRule(0.1, 0.9, 0.01), AdamWRule(0.1, (0.9, 0.99), 1e-8, 0.01, 4))


class HeadsGraph(Graph):
    """Embeddings [B, E] split(0) and the inputs of each head in turn, to losses, counts and gradients."""

    def __init__(self, heads: list[PartialFCHead]) -> None:
        super().__init__()
        self.heads = flow.nn.ModuleList(heads)
        self.config.proto.train_conf.SetInParent()

    def build(self, embeddings: flow.Tensor, *inputs: flow.Tensor) -> list[flow.Tensor]:
        given, wanted, sbps, values = iter(inputs), [embeddings.requires_grad_()], [flow.sbp.split(0)], []
        for head in self.heads:
            loss, correct, _, trained = head(embeddings, *(next(given) for _ in range(2 + len(head.banks))))
            values += [loss, correct.detach()]
            wanted += trained
            sbps += [sbp[0] for sbp in head.gradient_sbps]
        total = sum(values[::2])
        flow._oneflow_internal.nn.graph.AddTensorAsGraphLoss(total)
        gradients = flow.autograd.grad([total], wanted)
        return [
            *(value.detach().to_global(sbp=flow.sbp.broadcast) for value in values),
            *(gradient.to_global(sbp=sbp) for gradient, sbp in zip(gradients, sbps, strict=True)),
        ]


def make_head(form: str, name: str, world: World) -> PartialFCHead:
    case = next(case for case in CASES if case.name == name)
    options = HeadOptions(
        case.num_classes,
        EMB_SIZE,
        loss_options(case.margin, case.scale),
        train_batch_size=BATCH,
        fc7_dtype="bf16",
        seed=SEED,
        **FORMS[form],
    )
    return build_head(options, world)


def stored(head: PartialFCHead) -> dict[str, np.ndarray]:
    """Return this rank's rows and moments as they are stored, without padding, in bits."""
    rows = head.bfloat16_rows
    arrays = {"weight": rows.weight.stored, "momentum": rows.view_momentum(), "variance": rows.view_variance()}
    start, stop = head.shards.real_rows(head.shard)
    return {name: array["bfloat16"][: stop - start].copy() for name, array in arrays.items()}


def update_rows(head: PartialFCHead) -> dict[str, np.ndarray]:
    """Update some rows by gradients that depend on the class alone; return what is stored then."""
    start, stop = head.shards.real_rows(head.shard)
    for step, rule in enumerate(RULES, 3):
        classes = np.arange(step % 2, head.shards.num_classes, 2)
        own = classes[(classes >= start) & (classes < stop)]
        gradients = np.random.default_rng(step).standard_normal((head.shards.num_classes, EMB_SIZE)).astype(np.float32)
        given = np.zeros((head.shards.rows, EMB_SIZE), np.float32)
        given[: len(own)] = gradients[own]
        head.bfloat16_rows.select(own - start, head.shards.rows)
        head.bfloat16_rows.update(flow.tensor(given), rule, step)
    return stored(head)


def main(_: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Return (form, loss) -> loss, correct, gradient [C, E] of the rows, and what is stored first and at the end."""
    heads = [make_head(*pair, WORLD) for pair in PAIRS]
    first = [stored(head) for head in heads]
    part = BATCH // WORLD.size
    mine = slice(WORLD.rank * part, (WORLD.rank + 1) * part)
    inputs = [WORLD.split(usual_embeddings()[mine].copy())]
    for (_, name), head in zip(PAIRS, heads, strict=True):
        labels = next(case for case in CASES if case.name == name).labels()[mine].copy()
        inputs += head.prepare(labels, 0, WORLD)
    values = HeadsGraph(heads)(*inputs)
    scalars = [value.to_local().numpy().item() for value in values[: 2 * len(heads)]]
    embeddings, *returned = values[2 * len(heads) :]
    results = {}
    for place, (pair, head) in enumerate(zip(PAIRS, heads, strict=True)):
        own = [returned.pop(0) for _ in head.banks]
        weight, *bias = (gradient.to_local().numpy().copy() for gradient in head.row_gradients(own))
        gradient = np.zeros((head.shards.rows, EMB_SIZE), np.float32)
        sampled = head.bfloat16_rows._reference.indices
        gradient[sampled] = weight[: len(sampled)]
        results[pair] = {
            "loss": scalars[2 * place],
            "correct": scalars[2 * place + 1],
            "gradient": gradient,
            "bias": bias,
            "bytes": head.row_bytes,
            "shard": head.shard,
            "first": first[place],
            "last": update_rows(head),
        }
    results["embeddings"] = embeddings.to_local().numpy().copy()
    return results
