"""What all heads have: the class centres, spread over the ranks, and what a training step asks of a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ops import flow
from ops.class_shards import ClassShards, initial_class_rows
from ops.margin_softmax import MarginSoftmax
from ops.row_bank import RowBank
from ops.row_storage import RowStorage


class Ranks(Protocol):
    """How arrays get from each rank to all of them; ``engine.world.World`` is one. ``gather`` is a collective call."""

    rank: int

    def split(self, local: np.ndarray | flow.Tensor, axis: int = 0) -> flow.Tensor:
        """Return the global tensor, split along ``axis``, of which ``local`` is this rank's part."""

    def gather(self, local: np.ndarray) -> np.ndarray:
        """Return the arrays of all ranks, one after the other along the first axis."""


class Head(flow.nn.Module):
    """Class centres, as one shard for everybody (replicated) or one shard per rank (model parallel).

    A training graph calls the head with the embeddings and what ``inputs`` returned, then ``find_trained``; whoever
    called the graph takes its gradients through ``find_gradients``.

    Attributes:
        shards: the layout of the classes.
        shard: which of the shards this rank holds.
        centres: rows per class, one after the other (Sub-center ArcFace).
        weight: fc7 weight, global [shards.padded * centres, E], split(0) or broadcast.
        bias: global [shards.padded] if there is one, else None.
        loss: what computes with the rows, and keeps the moving values of the losses that have such.
        banks: what updates the parameters of which a step trains some rows only, by their names; empty where each step
            trains all rows.
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
        self.banks: dict[str, RowBank] = {}
        sbp = flow.sbp.split(0) if model_parallel else flow.sbp.broadcast
        start, stop = self.shards.real_rows(self.shard)
        rows = (storage or RowStorage()).zeros((self.shards.rows * centres, emb_size))
        initial_class_rows(seed, start * centres, stop * centres, emb_size, out=rows[: (stop - start) * centres])
        self.weight = flow.nn.Parameter(flow.from_numpy(rows).to_global(placement, sbp))
        self.bias = None
        if bias:
            self.bias = flow.nn.Parameter(flow.zeros(self.shards.rows).to_global(placement, sbp))

    def inputs(self, labels: np.ndarray, step: int, ranks: Ranks) -> list[flow.Tensor]:
        """Return what the head needs in ``step`` besides the embeddings, as global tensors. A collective call.

        The first of them is int32 [B], split(0): to a part of the batch belongs that part of these.

        Args:
            labels: classes of this rank's images, int32 [B / number of ranks].
            step: number of the step.
            ranks: the way to the others.
        """
        raise NotImplementedError

    def find_trained(self, *inputs: flow.Tensor) -> list[flow.Tensor]:
        """Return the tensors to differentiate by, in the order of the parameters. Inside a graph, after the head."""
        raise NotImplementedError

    def find_gradients(self, returned: Sequence[flow.Tensor]) -> list[flow.Tensor]:
        """Return the gradients of the parameters, or of their rows that took part; valid until a graph is called again.

        Args:
            returned: the gradients by the tensors of ``find_trained``, which the graph returned.
        """
        return list(returned)
