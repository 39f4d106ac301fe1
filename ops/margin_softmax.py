"""Embeddings and class centres to a loss: margin softmax cross entropy over class rows that are spread over shards.

The one computation of all heads. Whatever rows they bring, all of a shard's or a sample, each shard brings as many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ops import flow
from ops.margins import Margin, Target
from ops.rows_in_place import ReferencedRows

PADDING_LOGIT = -1e30  # its softmax is exactly 0, so rows that stand for nobody are nobody's negatives
_EPSILON = 1e-10


class MarginSoftmax(flow.nn.Module):
    """Softmax cross entropy over all rows, with the margin of the chosen loss. For global tensors inside nn.Graph.

    With several shards the rows are split(0) and every rank sees all embeddings; a single shard is broadcast, and the
    batch stays split. Only embeddings, their gradient and values of size [B] and [B, shards] cross ranks.

    Attributes:
        new_state: the loss's moving values after the step that was last computed, by name; whoever compiles a graph
            returns them from it and hands them to ``set_state``. Empty for losses without any.
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
        super().__init__()
        self._centres = centres
        self.shards = shards
        self.rows = rows
        self._margin = margin
        self._scale = scale
        self._model_parallel = model_parallel
        sbp = flow.sbp.split(1) if model_parallel else flow.sbp.broadcast
        first = flow.tensor(np.full((1, 1), shard * rows, np.int32))
        self.register_buffer("_first_row", first.to_global(placement, sbp))
        self.new_state: dict[str, flow.Tensor] = {}
        self._state_names = tuple(margin.first_state) if margin is not None else ()
        for name in self._state_names:
            value = flow.tensor([margin.first_state[name]], dtype=flow.float32)
            self.register_buffer(f"_state_{name}", value.to_global(placement, flow.sbp.broadcast))

    def forward(
        self,
        embeddings: flow.Tensor,
        labels: flow.Tensor,
        weight: flow.Tensor | ReferencedRows,
        bias: flow.Tensor | None,
        padding: flow.Tensor | None,
    ) -> tuple[flow.Tensor, flow.Tensor]:
        """Return the mean loss and the number of images whose own class is the nearest one, margin left out.

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
            embeddings = _normalize(embeddings)
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

        if self._margin is not None:
            state = {name: getattr(self, f"_state_{name}") for name in self._state_names}
            logits = self._apply(self._margin, logits, Target(target, length, state), row, here)
        logits = logits.reshape(labels.shape[0], self.shards * self.rows)
        loss = flow._C.sparse_softmax_cross_entropy(logits, labels).mean()
        return loss, correct

    def _multiply(self, embeddings: flow.Tensor, weight: flow.Tensor | ReferencedRows) -> flow.Tensor:
        """Return the products with all rows, which count at unit length unless there is no margin."""
        unit = self._margin is not None
        if isinstance(weight, ReferencedRows):
            return weight.multiply(embeddings, _EPSILON if unit else 0.0)
        return flow.matmul(embeddings, _normalize(weight) if unit else weight, transpose_b=True)

    def _apply(
        self, margin: Margin, cosines: flow.Tensor, target: Target, row: flow.Tensor, here: flow.Tensor
    ) -> flow.Tensor:
        """Return the logits of the loss. ``row`` is where the target's cosines are, on the shard of which ``here``."""
        self.new_state.update(margin.move(target))
        target = replace(target, state=dict(self.new_state))
        change = (margin.change_target(target) - margin.change_all(target.cosine, target)).reshape(-1, 1) * here
        logits = flow.scatter_add(margin.change_all(cosines, target), 2, row, change.reshape(*row.shape))
        return logits * margin.find_scale(target, self._scale)

    def set_state(self, values: Sequence[flow.Tensor]) -> None:
        """Make ``values``, in the order of ``new_state`` and broadcast, the state that the next step starts from."""
        for name, value in zip(self._state_names, values, strict=True):
            self._own_state(name).copy_(value.to_local() if value.is_global else value)

    def read_state(self) -> dict[str, float]:
        """Return the loss's moving values; they are the same on every rank."""
        return {name: float(self._own_state(name).numpy()[0]) for name in self._state_names}

    def load_state(self, values: Mapping[str, float]) -> None:
        """Go on from what ``read_state`` returned; of another loss nothing is taken, and this one starts afresh."""
        if values.keys() == set(self._state_names):
            for name, value in values.items():
                self._own_state(name).fill_(value)

    def _own_state(self, name: str) -> flow.Tensor:
        return getattr(self, f"_state_{name}").to_local().detach()

    def _replicate(self, tensor: flow.Tensor) -> flow.Tensor:
        return tensor.to_global(sbp=flow.sbp.broadcast) if self._model_parallel else tensor


def _normalize(rows: flow.Tensor) -> flow.Tensor:
    return flow._C.normalize(rows, p=2.0, dim=1, eps=_EPSILON)


def _find_length(rows: flow.Tensor) -> flow.Tensor:
    return flow.sqrt(rows.square().sum(dim=1) + _EPSILON**2)  # the derivative at 0 is 0


def make_padding(used: int, rows: int) -> np.ndarray:
    """Return what leaves the first ``used`` of a shard's ``rows`` when added to its logits, float32 [1, 1, rows]."""
    padding = np.zeros((1, 1, rows), np.float32)
    padding[..., used:] = PADDING_LOGIT
    return padding
