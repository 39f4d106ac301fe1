"""What a training step asks of a head, and what heads with class centres have: the centres, spread over the ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ops import flow
from ops.heads.class_shards import ClassShards, initial_class_rows
from ops.heads.loss_state import MovingState
from ops.heads.margin_softmax import MarginSoftmax
from ops.rows.bank import RowBank
from ops.rows.storage import RowStorage


class Ranks(Protocol):
    """How arrays get from each rank to all of them; ``launch.world.World`` is one. ``gather`` is a collective call."""

    rank: int

    def split(self, local: np.ndarray | flow.Tensor, axis: int = 0) -> flow.Tensor:
        """Return the global tensor, split along ``axis``, of which ``local`` is this rank's part."""

    def gather(self, local: np.ndarray) -> np.ndarray:
        """Return the arrays of all ranks, one after the other along the first axis."""


class Head(flow.nn.Module):
    """Embeddings to a loss. Without parameters of its own unless a subclass says otherwise.

    A training graph calls the head with the embeddings and what ``inputs`` returned, then ``find_trained``; whoever
    called the graph takes its gradients through ``find_gradients``. The call returns the mean loss; how many images
    count as correct; and the ``lossvalue`` of InsightFace's logs.

    Attributes:
        loss: what computes, and keeps the moving values of the losses that have such.
        banks: what updates the parameters of which a step trains some rows only, by their names; empty where each step
            trains all rows.
    """

    loss: MovingState

    def __init__(self) -> None:
        super().__init__()
        self.banks: dict[str, RowBank] = {}

    def describe(self) -> str:
        """Return a line about the head for the log."""
        raise NotImplementedError

    def inputs(self, labels: np.ndarray, step: int, ranks: Ranks) -> list[flow.Tensor]:
        """Return what the head needs in ``step`` besides the embeddings, as global tensors. A collective call.

        The first of them is int32 [B], split(0): to a part of the batch belongs that part of these. Unless a subclass
        says otherwise it is the labels, and all.

        Args:
            labels: classes of this rank's images, int32 [B / number of ranks].
            step: number of the step.
            ranks: the way to the others.
        """
        return [ranks.split(labels)]

    def find_trained(self, *inputs: flow.Tensor) -> list[flow.Tensor]:
        """Return the tensors to differentiate by, in the order of the parameters. Inside a graph, after the head."""
        return [parameter.lazy_origin for parameter in self.parameters()]

    def find_gradients(self, returned: Sequence[flow.Tensor]) -> list[flow.Tensor]:
        """Return the gradients of the parameters, or of their rows that took part; valid until a graph is called again.

        Args:
            returned: the gradients by the tensors of ``find_trained``, which the graph returned.
        """
        return list(returned)


class ClassHead(Head):
    """A head with class centres, as one shard for everybody (replicated) or one shard per rank (model parallel).

    Attributes:
        shards: the layout of the classes.
        shard: which of the shards this rank holds.
        centres: rows per class, one after the other (Sub-center ArcFace).
        weight: fc7 weight, global [shards.padded * centres, E], split(0) or broadcast.
        bias: global [shards.padded] if there is one, else None.
    """

    loss: MarginSoftmax

    def __init__(
        self,
        num_classes: int,
        emb_size: int,
        placement: flow.placement,
        rank: int,
        *,
        model_parallel: bool,
        bias: bool,
        seed: int,
        centres: int = 1,
        storage: RowStorage | None = None,
    ) -> None:
        """Make ``centres`` rows for each class, with the initial values of ``seed``; biases start at 0.

        ``storage`` is where the CPU keeps the rows, in memory unless it is given.
        """
        super().__init__()
        self.centres = centres
        self.shards = ClassShards(num_classes, int(np.prod(placement.ranks.shape)) if model_parallel else 1)
        self.shard = rank if model_parallel else 0
        sbp = flow.sbp.split(0) if model_parallel else flow.sbp.broadcast
        start, stop = self.shards.real_rows(self.shard)
        rows = (storage or RowStorage()).zeros((self.shards.rows * centres, emb_size))
        initial_class_rows(seed, start * centres, stop * centres, emb_size, out=rows[: (stop - start) * centres])
        self.weight = flow.nn.Parameter(flow.from_numpy(rows).to_global(placement, sbp))
        self.bias = None
        if bias:
            self.bias = flow.nn.Parameter(flow.zeros(self.shards.rows).to_global(placement, sbp))

    def describe(self) -> str:
        """See ``Head``: where the class rows are."""
        place = self.weight.placement
        return (
            f"fc7: placement {place.type} x {np.prod(place.ranks.shape)} ranks, sbp {self.weight.sbp[0]}, "
            f"{self.shards.num_classes} classes, {self.shards.rows} rows per rank"
        )
