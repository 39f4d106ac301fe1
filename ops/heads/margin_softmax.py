"""Compute the margin softmax cross entropy from embeddings and class rows that are distributed over shards.

All heads with class rows share this computation; each shard contributes the same number of rows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ops import flow
from ops.heads.distillation import TaughtClasses, class_divergence
from ops.heads.layout import HeadLayout
from ops.heads.loss_state import LossState
from ops.heads.normalize import EPSILON, normalize
from ops.losses.margin import LossInputs, Margin
from ops.rows.referenced import ReferencedRows

PADDING_LOGIT = -1e30  # its softmax is exactly 0, so padding rows and unused slots never act as negatives


class MarginSoftmax(LossState):
    """Softmax cross entropy over all rows, with the margin of the chosen loss.

    With a sharded layout the rows are split(0) and every rank sees all embeddings; otherwise the rows are whole, and
    the batch stays split. Only embeddings, their gradient and values of size [B] and [B, shards] cross ranks, and for
    losses that compare class centres, one vector of the embedding's length.
    """

    def __init__(
        self,
        margin: Margin | None,
        scale: float,
        layout: HeadLayout,
        rows: int,
        centres: int = 1,
        smoothing: float = 0.0,
        teacher: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        """Compute with ``rows`` class rows per shard.

        Args:
            margin: the change of the cosines; None is the plain softmax on raw embeddings and rows.
            scale: factor of the cosines; unused without a margin.
            layout: how rows, logits and the batch lie over the ranks.
            rows: class rows of each shard, padding included.
            centres: vectors per row, of which the nearest counts (Deng et al., Sub-center ArcFace, ECCV 2020).
            smoothing: share of the wanted probability that is spread evenly over the classes of the step (label
                smoothing, Szegedy et al., arXiv:1512.00567, section 7); for losses that are a softmax.
            teacher: weight and temperature of the divergence from a teacher's softmax; for losses with a margin.
        """
        super().__init__(
            margin.first_state if margin is not None else {},
            layout.placement,
            margin.first_trained if margin is not None else {},
        )
        self.rows = rows
        self._layout = layout
        self._centres = centres
        self._margin = margin
        self._scale = scale
        self._smoothing = smoothing
        self._teacher_weight, self._temperature = teacher
        first = flow.tensor(np.full((1, 1), layout.shard * rows, np.int32))
        self.register_buffer("_first_row", layout.place_columns(first))

    def forward(
        self,
        embeddings: flow.Tensor,
        labels: flow.Tensor,
        weight: flow.Tensor | ReferencedRows,
        bias: flow.Tensor | None,
        padding: flow.Tensor | None,
        margins: flow.Tensor | None = None,
        taught: TaughtClasses | None = None,
    ) -> tuple[flow.Tensor, flow.Tensor, flow.Tensor]:
        """Return the mean loss, the number of images whose own class is the nearest, and the mean cross entropy.

        The number is computed without margin. Loss and cross entropy differ by the extra term of some losses, by label
        smoothing, and by what a teacher adds.

        Args:
            embeddings: float32 [B, E], split(0).
            labels: int32 [B], split(0): each image's row among the shards * rows.
            weight: float32 [shards * rows * centres, E], the centres of a row consecutive; or a reference to rows
                outside the graph.
            bias: float32 [shards * rows], or None.
            padding: float32 [1, shards, rows], split(1) with a sharded layout: 0, and PADDING_LOGIT for padding rows
                and unused slots; None if there are none.
            margins: of the images, float32 [B], split(0); None where the loss has none.
            taught: what a teacher says of the images; None adds nothing.
        """
        length = None
        if self._margin is not None:
            if self._margin.uses_length:
                length = self._layout.to_every_rank(_length(embeddings))
            embeddings = normalize(embeddings)
        # embeddings [B, E]          x  rows^T [E, C]       ->  logits [B, C]
        # forward:   split(0) -> broadcast  x  split(1)     ->  split(1)
        # backward:  the gradient of the embeddings is partial_sum -> split(0), that of the rows stays split(0)
        embeddings, labels = self._layout.to_every_rank(embeddings), self._layout.to_every_rank(labels)
        logits = self._multiply(embeddings, weight)
        if bias is not None:
            logits = logits + bias
        if self._centres > 1:  # the nearest centre counts
            logits = logits.reshape(labels.shape[0], self._layout.shards * self.rows, self._centres).amax(dim=2)
        # One axis for the shards: what follows is then local to each rank except for [B, shards] and [B] values.
        logits = logits.reshape(labels.shape[0], self._layout.shards, self.rows)
        addition = None if taught is None else self._learn(logits, taught, padding)
        if padding is not None:
            logits = logits + padding
        row = labels.reshape(-1, 1) - self._first_row
        here = (row >= 0).to(flow.float32) * (row < self.rows).to(flow.float32)
        row = row.clamp(0, self.rows - 1).reshape(labels.shape[0], self._layout.shards, 1)
        target = self._layout.to_every_rank((flow.gather(logits, 2, row).reshape(*here.shape) * here).sum(dim=1))
        best = self._layout.to_every_rank(logits.detach().amax(dim=2)).amax(dim=1)
        correct = (target.detach() >= best).to(flow.float32).sum()

        if self._margin is not None:
            between = self._compare_centres(weight, padding, row, here) if self._margin.uses_centres else None
            margins = margins if margins is None else self._layout.to_every_rank(margins)
            trained = self.trained_numbers()
            values = LossInputs(target, length, self.old_state(), between, margins, logits, trained)
            logits = self._apply(self._margin, logits, values, row, here)
            addition = _add(addition, self._margin.extra_loss(values))
            sums = self._margin.sum_classes(logits, values)
            if sums is not None:
                total = self._layout.to_every_rank(sums.sum(dim=1))
                own_loss = self._margin.image_losses(total, values, self._scale).mean()
                return own_loss if addition is None else own_loss + addition, correct, own_loss
        if self._smoothing:
            addition = _add(addition, self._smooth(logits, padding, row, here))
        logits = logits.reshape(labels.shape[0], self._layout.shards * self.rows)
        cross_entropy = flow._C.sparse_softmax_cross_entropy(logits, labels).mean()
        return cross_entropy if addition is None else cross_entropy + addition, correct, cross_entropy

    @property
    def has_image_margins(self) -> bool:
        """Whether ``forward`` needs the margins of the images."""
        return self._margin is not None and self._margin.has_image_margins

    def image_margins(self, labels: np.ndarray, step: int, first: int) -> np.ndarray:
        """Return the margins of images, float32 [b]; see ``Margin.image_margins``."""
        return self._margin.image_margins(labels, step, first)

    def _learn(self, cosines: flow.Tensor, taught: TaughtClasses, padding: flow.Tensor | None) -> flow.Tensor:
        """Return what the teacher's softmax over the classes adds to the loss, a scalar.

        Both have the scale of the loss and no margin. The square of the temperature keeps the gradient about as large
        at every temperature.

        Args:
            cosines: float32 [B, shards, rows].
            taught: the teacher's.
            padding: as in ``forward``.
        """
        of_teacher, factor = taught.cosines(self._layout, self.rows), self._scale / self._temperature
        divergence = class_divergence(cosines, of_teacher, self._layout, factor, padding)
        return divergence * (self._teacher_weight * self._temperature**2)

    def _smooth(
        self, logits: flow.Tensor, padding: flow.Tensor | None, row: flow.Tensor, here: flow.Tensor
    ) -> flow.Tensor:
        """Return what label smoothing adds to the mean cross entropy, a scalar.

        For one image it is the smoothing times (own logit - mean logit): the wanted probabilities add up to 1, so that
        the logarithm of the sum in the softmax keeps its weight.

        Args:
            logits: float32 [B, shards, rows], with margin and scale.
            padding: as in ``forward``.
            row: int [B, shards, 1], the row of the own class on the shard that holds it.
            here: float32 [B, shards], 1 on the shard that holds the own class, else 0.
        """
        own = (flow.gather(logits, 2, row).reshape(*here.shape) * here).sum(dim=1)
        if padding is None:
            return (own - logits.sum(dim=2).sum(dim=1) / (self._layout.shards * self.rows)).mean() * self._smoothing
        real = padding == 0
        total = flow.where(real, logits, flow.zeros_like(logits)).sum(dim=2).sum(dim=1)
        count = self._layout.to_every_rank(real.to(flow.float32).sum())
        return (own - total / count).mean() * self._smoothing

    def _compare_centres(
        self, weight: flow.Tensor, padding: flow.Tensor | None, row: flow.Tensor, here: flow.Tensor
    ) -> flow.Tensor:
        """Return the mean cosine of each image's own centre with all centres, float32 [B].

        The mean is a product with the mean of the centres, so that no matrix of all pairs is needed.
        """
        units = normalize(weight)
        if padding is None:
            mean = self._layout.to_every_rank(units.sum(dim=0)) / units.shape[0]
        else:
            real = (padding.reshape(-1, 1) == 0).to(units.dtype)
            mean = self._layout.to_every_rank((units * real).sum(dim=0)) / self._layout.to_every_rank(real.sum())
        means = flow.matmul(units, mean.reshape(-1, 1)).reshape(self._layout.shards, self.rows)
        own = flow.gather(means, 1, row.reshape(-1, self._layout.shards).transpose(0, 1)).transpose(0, 1)
        return self._layout.to_every_rank((own * here).sum(dim=1))

    def _multiply(self, embeddings: flow.Tensor, weight: flow.Tensor | ReferencedRows) -> flow.Tensor:
        """Return the products with all rows, normalised if there is a margin."""
        unit = self._margin is not None
        if isinstance(weight, ReferencedRows):
            return weight.multiply(embeddings, EPSILON if unit else 0.0)
        return flow.matmul(embeddings, normalize(weight) if unit else weight, transpose_b=True)

    def _apply(
        self, margin: Margin, cosines: flow.Tensor, target: LossInputs, row: flow.Tensor, here: flow.Tensor
    ) -> flow.Tensor:
        """Return the logits of the loss.

        Args:
            margin: of the loss.
            cosines: float32 [B, shards, rows].
            target: of the own classes.
            row: int [B, shards, 1], the row of the own class on the shard that holds it.
            here: float32 [B, shards], 1 on the shard that holds the own class, else 0.
        """
        self.new_state.update(margin.update_state(target))
        target = replace(target, state=dict(self.new_state))
        change = (margin.change_target(target) - margin.change_all(target.cosine, target)).reshape(-1, 1) * here
        logits = flow.scatter_add(margin.change_all(cosines, target), 2, row, change.reshape(*row.shape))
        return logits * margin.scale(target, self._scale)


def _add(first: flow.Tensor | None, second: flow.Tensor | None) -> flow.Tensor | None:
    return second if first is None else first if second is None else first + second


def _length(rows: flow.Tensor) -> flow.Tensor:
    return flow.sqrt(rows.square().sum(dim=1) + EPSILON**2)  # the derivative at 0 is 0


def make_padding(used: int, rows: int) -> np.ndarray:
    """Return the mask to add to the logits of a shard whose first ``used`` rows are real, float32 [1, 1, rows]."""
    padding = np.zeros((1, 1, rows), np.float32)
    padding[..., used:] = PADDING_LOGIT
    return padding
