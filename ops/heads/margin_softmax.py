"""Embeddings and class centres to a loss: margin softmax cross entropy over class rows that are spread over shards.

The one computation of all heads. Whatever rows they bring, all of a shard's or a sample, each shard brings as many.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ops import flow
from ops.heads.loss_state import MovingState
from ops.losses.margin import Margin, Target
from ops.rows.referenced import ReferencedRows

PADDING_LOGIT = -1e30  # its softmax is exactly 0, so rows that stand for nobody are nobody's negatives
_EPSILON = 1e-10


class MarginSoftmax(MovingState):
    """Softmax cross entropy over all rows, with the margin of the chosen loss. For global tensors inside nn.Graph.

    With several shards the rows are split(0) and every rank sees all embeddings; a single shard is broadcast, and the
    batch stays split. Only embeddings, their gradient and values of size [B] and [B, shards] cross ranks, and where a
    loss asks how the centres lie to each other, one vector of the embedding's length.
    """

    def __init__(
        self,
        shards: int,
        rows: int,
        shard: int,
        placement: flow.placement,
        *,
        margin: Margin | None,
        scale: float,
        model_parallel: bool,
        centres: int = 1,
    ) -> None:
        """Compute with ``shards`` times ``rows`` class rows, of which this rank holds number ``shard``.

        Without a margin this is the plain softmax on raw embeddings and rows, and ``scale`` is unused. With several
        ``centres`` each row is that many, and the nearest counts (Deng et al., Sub-center ArcFace, ECCV 2020).
        """
        super().__init__(margin.first_state if margin is not None else {}, placement)
        self._centres = centres
        self.shards = shards
        self.rows = rows
        self._margin = margin
        self._scale = scale
        self._model_parallel = model_parallel
        sbp = flow.sbp.split(1) if model_parallel else flow.sbp.broadcast
        first = flow.tensor(np.full((1, 1), shard * rows, np.int32))
        self.register_buffer("_first_row", first.to_global(placement, sbp))

    def forward(
        self,
        embeddings: flow.Tensor,
        labels: flow.Tensor,
        weight: flow.Tensor | ReferencedRows,
        bias: flow.Tensor | None,
        padding: flow.Tensor | None,
    ) -> tuple[flow.Tensor, flow.Tensor, flow.Tensor]:
        """Return the mean loss, the number of images whose own class is the nearest one, and the mean cross entropy.

        The margin is left out of the number. Loss and cross entropy differ by what the loss adds to the latter.

        Args:
            embeddings: float32 [B, E], split(0).
            labels: int32 [B], split(0): each image's row among the shards * rows.
            weight: float32 [shards * rows * centres, E], the centres of a row one after the other; or a reference to
                rows outside of the graph.
            bias: float32 [shards * rows], or None.
            padding: float32 [1, shards, rows], split(1) with several shards: 0, and PADDING_LOGIT for rows that stand
                for nobody; None if there are none.
        """
        length = None
        if self._margin is not None:
            if self._margin.uses_length:
                length = self._replicate(_find_length(embeddings))
            embeddings = normalize(embeddings)
        embeddings, labels = self._replicate(embeddings), self._replicate(labels)
        logits = self._multiply(embeddings, weight)
        if bias is not None:
            logits = logits + bias
        if self._centres > 1:  # the nearest speaks for its class
            logits = logits.reshape(labels.shape[0], self.shards * self.rows, self._centres).amax(dim=2)
        # One axis for the shards: what follows is then local to each rank except for [B, shards] and [B] values.
        logits = logits.reshape(labels.shape[0], self.shards, self.rows)
        if padding is not None:
            logits = logits + padding
        row = labels.reshape(-1, 1) - self._first_row
        here = (row >= 0).to(flow.float32) * (row < self.rows).to(flow.float32)
        row = row.clamp(0, self.rows - 1).reshape(labels.shape[0], self.shards, 1)
        target = self._replicate((flow.gather(logits, 2, row).reshape(*here.shape) * here).sum(dim=1))
        best = self._replicate(logits.detach().amax(dim=2)).amax(dim=1)
        correct = (target.detach() >= best).to(flow.float32).sum()

        addition = None
        if self._margin is not None:
            between = self._compare_centres(weight, padding, row, here) if self._margin.uses_centres else None
            values = Target(target, length, self.old_state(), between)
            logits = self._apply(self._margin, logits, values, row, here)
            addition = self._margin.find_addition(values)
        logits = logits.reshape(labels.shape[0], self.shards * self.rows)
        cross_entropy = flow._C.sparse_softmax_cross_entropy(logits, labels).mean()
        return cross_entropy if addition is None else cross_entropy + addition, correct, cross_entropy

    def _compare_centres(
        self, weight: flow.Tensor, padding: flow.Tensor | None, row: flow.Tensor, here: flow.Tensor
    ) -> flow.Tensor:
        """Return the mean cosine of each image's own centre with all centres, float32 [B].

        The mean is a product with the mean of the centres, so that no matrix of all pairs is needed.
        """
        units = normalize(weight)
        if padding is None:
            mean = self._replicate(units.sum(dim=0)) / units.shape[0]
        else:
            real = (padding.reshape(-1, 1) == 0).to(units.dtype)
            mean = self._replicate((units * real).sum(dim=0)) / self._replicate(real.sum())
        means = flow.matmul(units, mean.reshape(-1, 1)).reshape(self.shards, self.rows)
        own = flow.gather(means, 1, row.reshape(-1, self.shards).transpose(0, 1)).transpose(0, 1)
        return self._replicate((own * here).sum(dim=1))

    def _multiply(self, embeddings: flow.Tensor, weight: flow.Tensor | ReferencedRows) -> flow.Tensor:
        """Return the products with all rows, which count at unit length unless there is no margin."""
        unit = self._margin is not None
        if isinstance(weight, ReferencedRows):
            return weight.multiply(embeddings, _EPSILON if unit else 0.0)
        return flow.matmul(embeddings, normalize(weight) if unit else weight, transpose_b=True)

    def _apply(
        self, margin: Margin, cosines: flow.Tensor, target: Target, row: flow.Tensor, here: flow.Tensor
    ) -> flow.Tensor:
        """Return the logits of the loss. ``row`` is where the target's cosines are, on the shard of which ``here``."""
        self.new_state.update(margin.move(target))
        target = replace(target, state=dict(self.new_state))
        change = (margin.change_target(target) - margin.change_all(target.cosine, target)).reshape(-1, 1) * here
        logits = flow.scatter_add(margin.change_all(cosines, target), 2, row, change.reshape(*row.shape))
        return logits * margin.find_scale(target, self._scale)

    def _replicate(self, tensor: flow.Tensor) -> flow.Tensor:
        return tensor.to_global(sbp=flow.sbp.broadcast) if self._model_parallel else tensor


def normalize(rows: flow.Tensor) -> flow.Tensor:
    """Return ``rows`` [N, E] with length 1, differentiable everywhere."""
    return flow._C.normalize(rows, p=2.0, dim=1, eps=_EPSILON)


def _find_length(rows: flow.Tensor) -> flow.Tensor:
    return flow.sqrt(rows.square().sum(dim=1) + _EPSILON**2)  # the derivative at 0 is 0


def make_padding(used: int, rows: int) -> np.ndarray:
    """Return what leaves the first ``used`` of a shard's ``rows`` when added to its logits, float32 [1, 1, rows]."""
    padding = np.zeros((1, 1, rows), np.float32)
    padding[..., used:] = PADDING_LOGIT
    return padding
