"""The classification head: embeddings meet the class centres and become a loss.

One piece of code for both forms. Model parallel: the fc7 weight is a global tensor with SBP split(0), one shard of
classes per rank, and every rank sees all embeddings. Data parallel: the weight is broadcast, the batch stays split.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import lookup
from ops import flow
from ops.class_shards import ClassShards, initial_class_rows
from ops.margins import CombinedMargin

_PADDING_LOGIT = -1e30  # its softmax is exactly 0, so padding rows are nobody's negatives
_EPSILON = 1e-10


class MarginSoftmaxHead(flow.nn.Module):
    """Softmax cross entropy over all classes, with the margin of the chosen loss.

    Works inside nn.Graph on global tensors. Example, in a graph's ``build``::

        loss, correct = head(embeddings, labels)   # embeddings [B, E] split(0), labels int32 [B] split(0)

    Attributes:
        shards: the layout of the classes.
        weight: fc7 weight, global [shards.padded, E], split(0) or broadcast.
        bias: global [shards.padded] of the plain softmax, else None.
    """

    def __init__(
        self,
        num_classes: int,
        emb_size: int,
        placement: flow.placement,
        rank: int,
        *,
        margin: CombinedMargin | None,
        scale: float,
        model_parallel: bool,
        bias: bool = False,
        seed: int = 0,
    ) -> None:
        """Make the head; without a margin it is the plain softmax on raw embeddings and ``scale`` is unused."""
        super().__init__()
        world_size = int(np.prod(placement.ranks.shape))
        self.shards = ClassShards(num_classes, world_size if model_parallel else 1)
        self.shard = rank if model_parallel else 0
        self._margin = margin
        self._scale = scale
        self._model_parallel = model_parallel
        self._sbp = flow.sbp.split(0) if model_parallel else flow.sbp.broadcast

        start, stop = self.shards.real_rows(self.shard)
        local = np.zeros((self.shards.rows, emb_size), np.float32)
        local[: stop - start] = initial_class_rows(seed, start, stop, emb_size)
        self.weight = flow.nn.Parameter(flow.tensor(local).to_global(placement, self._sbp))
        self.bias = None
        if bias:
            zeros = flow.zeros(self.shards.rows)
            self.bias = flow.nn.Parameter(zeros.to_global(placement, self._sbp))

        self._register_constant("_first_class", np.full((1, 1), self.shard * self.shards.rows, np.int32), placement)
        self._padded = self.shards.padded > num_classes
        if self._padded:
            padding = np.zeros((1, 1, self.shards.rows), np.float32)
            padding[..., stop - start :] = _PADDING_LOGIT
            self._register_constant("_padding", padding, placement)

    def _register_constant(self, name: str, local: np.ndarray, placement: flow.placement) -> None:
        sbp = flow.sbp.split(1) if self._model_parallel else flow.sbp.broadcast
        self.register_buffer(name, flow.tensor(local).to_global(placement, sbp))

    def forward(self, embeddings: flow.Tensor, labels: flow.Tensor) -> tuple[flow.Tensor, flow.Tensor]:
        """Return the mean loss and the number of images whose own class is the nearest one, margin left out.

        Args:
            embeddings: float32 [B, E], split(0).
            labels: int32 [B] in 0..num_classes-1, split(0).
        """
        logits, labels = self._logits(embeddings, labels)
        # One axis for the shards: what follows is then local to each rank except for [B, shards] and [B] values.
        logits = logits.reshape(labels.shape[0], self.shards.shards, self.shards.rows)
        if self._padded:
            logits = logits + self._padding
        row = labels.reshape(-1, 1) - self._first_class
        here = (row >= 0).to(flow.float32) * (row < self.shards.rows).to(flow.float32)
        row = row.clamp(0, self.shards.rows - 1).reshape(labels.shape[0], self.shards.shards, 1)
        target = self._replicate((flow.gather(logits, 2, row).reshape(*here.shape) * here).sum(dim=1))
        best = self._replicate(logits.detach().amax(dim=2)).amax(dim=1)
        correct = (target.detach() >= best).to(flow.float32).sum()

        if self._margin is not None:
            change = (self._margin(target) - target).reshape(-1, 1) * here
            logits = flow.scatter_add(logits, 2, row, change.reshape(*row.shape)) * self._scale
        logits = logits.reshape(labels.shape[0], self.shards.padded)
        loss = flow._C.sparse_softmax_cross_entropy(logits, labels).mean()
        return loss, correct

    def _logits(self, embeddings: flow.Tensor, labels: flow.Tensor) -> tuple[flow.Tensor, flow.Tensor]:
        weight = self.weight
        if self._margin is not None:
            embeddings = flow._C.normalize(embeddings, p=2.0, dim=1, eps=_EPSILON)
            weight = flow._C.normalize(weight, p=2.0, dim=1, eps=_EPSILON)
        embeddings, labels = self._replicate(embeddings), self._replicate(labels)
        logits = flow.matmul(embeddings, weight, transpose_b=True)
        if self.bias is not None:
            logits = logits + self.bias
        return logits, labels

    def _replicate(self, tensor: flow.Tensor) -> flow.Tensor:
        return tensor.to_global(sbp=flow.sbp.broadcast) if self._model_parallel else tensor


def _combined_margin(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"margin": CombinedMargin(config["loss_m1"], config["loss_m2"], config["loss_m3"]), "bias": False}


def _plain_softmax(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"margin": None, "bias": not config["fc7_no_bias"]}


LOSSES = {"margin_softmax": _combined_margin, "softmax": _plain_softmax}


def build_head(config: Mapping[str, Any], placement: flow.placement, rank: int) -> MarginSoftmaxHead:
    """Return the head that ``config`` asks for by ``loss_name``, with the initial weights of its seed.

    Raises:
        UserError: the loss is unknown; the message lists the known ones.
    """
    form = lookup(LOSSES, config["loss_name"], "loss_name")(config)
    return MarginSoftmaxHead(
        config["num_classes"],
        config["emb_size"],
        placement,
        rank,
        scale=config["loss_s"],
        model_parallel=config["model_parallel"],
        seed=config["seed"],
        **form,
    )
