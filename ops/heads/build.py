"""The classification head: embeddings meet the class centres and become a loss.

Three forms of one computation (``ops.heads.margin_softmax``). Replicated: the fc7 weight is broadcast, the batch stays
split. Model parallel: the weight is a global tensor with SBP split(0), one shard of classes per rank, and every rank
sees all embeddings. Partial FC (``ops.heads.partial_fc``): model parallel, with a sample of the class rows in each
step. With a sample of all rows it is the model parallel form, and takes its place where graphs can compute with rows
where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops import flow
from ops.heads.base import ClassHead, Head
from ops.heads.margin_softmax import MarginSoftmax, make_padding
from ops.heads.partial_fc import PartialFCHead
from ops.heads.triplet import DISTANCES, build_triplet_head
from ops.losses.margin import Margin
from ops.losses.registry import build_margin
from ops.native.rows import NativeRows
from ops.rows.storage import RowStorage


class MarginSoftmaxHead(ClassHead):
    """Softmax cross entropy over all classes, with the margin of the chosen loss.

    Works inside nn.Graph on global tensors. Example, in a graph's ``build``::

        loss, correct, _ = head(embeddings, labels)   # embeddings [B, E] split(0), labels int32 [B] split(0)
    """

    def __init__(
        self,
        num_classes: int,
        emb_size: int,
        placement: flow.placement,
        rank: int,
        *,
        margin: Margin | None,
        scale: float,
        model_parallel: bool,
        bias: bool = False,
        seed: int = 0,
        centres: int = 1,
    ) -> None:
        """Make the head; without a margin it is the plain softmax on raw embeddings and ``scale`` is unused."""
        super().__init__(
            num_classes, emb_size, placement, rank, model_parallel=model_parallel, bias=bias, seed=seed, centres=centres
        )
        self.loss = MarginSoftmax(
            self.shards.shards,
            self.shards.rows,
            self.shard,
            placement,
            margin=margin,
            scale=scale,
            model_parallel=model_parallel,
            centres=centres,
        )
        padding = None
        if self.shards.padded > num_classes:
            start, stop = self.shards.real_rows(self.shard)
            sbp = flow.sbp.split(1) if model_parallel else flow.sbp.broadcast
            padding = flow.tensor(make_padding(stop - start, self.shards.rows)).to_global(placement, sbp)
        self.register_buffer("_padding", padding)

    def forward(self, embeddings: flow.Tensor, labels: flow.Tensor) -> tuple[flow.Tensor, flow.Tensor, flow.Tensor]:
        """Return what ``MarginSoftmax`` does.

        Args:
            embeddings: float32 [B, E], split(0).
            labels: int32 [B] in 0..num_classes-1, split(0).
        """
        return self.loss(embeddings, labels, self.weight, self.bias, self._padding)


def build_head(
    config: Mapping[str, Any], placement: flow.placement, rank: int, storage: RowStorage | None = None
) -> Head:
    """Return the head that ``config`` asks for by ``loss_name``, with the initial weights of its seed.

    ``storage`` is where the CPU keeps the rows of Partial FC; in memory unless it is given.

    Raises:
        UserError: the loss is unknown; the message lists the known ones.
    """
    if config["loss_name"] in DISTANCES:
        return build_triplet_head(config, placement)
    margin = build_margin(config)
    bias = margin is None and not config["fc7_no_bias"]
    common = {
        "margin": margin,
        "scale": config["loss_s"],
        "bias": bias,
        "seed": config["seed"],
        "centres": config["num_subcenters"],
    }
    sizes = (config["num_classes"], config["emb_size"], placement, rank)
    # On a CPU with the kernels a graph computes with rows where they are, also if the sample is everybody.
    in_place = config["model_parallel"] and placement.type == "cpu" and NativeRows.available()
    in_place = in_place and (margin is None or not margin.uses_centres)
    if config["partial_fc"] or in_place:
        ratio = config["sample_ratio"] if config["partial_fc"] else 1.0
        return PartialFCHead(
            *sizes, sample_ratio=ratio, batch_size=config["train_batch_size"], storage=storage, **common
        )
    return MarginSoftmaxHead(*sizes, model_parallel=config["model_parallel"], **common)
