"""How class rows, logits and the batch lie over the ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ops import flow


@dataclass(frozen=True)
class HeadLayout:
    """The SBP of every axis of a head. Another layout is another strategy: nothing else decides it.

    ==============  ===============  ===============  =================  ==============================
    layout          rows [C, E]      logits [B, C]    batch [B, E]       crosses ranks
    ==============  ===============  ===============  =================  ==============================
    local           a local tensor   a local tensor   a local tensor     nothing: one process
    replicated      broadcast        split(0)         split(0)           the gradient of the rows
    model parallel  split(0)         split(1)         split(0) -> bcast  embeddings and their gradient
    Partial FC      split(0), a      split(1)         split(0) -> bcast  embeddings and their gradient
                    sample of them
    ==============  ===============  ===============  =================  ==============================

    Attributes:
        placement: the ranks; None for local tensors in one process.
        rank: this process.
        is_sharded: whether each rank holds its own shard of the rows (model parallel and Partial FC).
    """

    placement: flow.placement | None = None
    rank: int = 0
    is_sharded: bool = False

    @property
    def shards(self) -> int:
        """Number of shards of the rows."""
        return int(np.prod(self.placement.ranks.shape)) if self.is_sharded else 1

    @property
    def shard(self) -> int:
        """Shard that this rank holds."""
        return self.rank if self.is_sharded else 0

    def place_rows(self, local: flow.Tensor) -> flow.Tensor:
        """Return the tensor over all ranks of which ``local`` [C / shards, ...] is this rank's part."""
        return self._place(local, flow.sbp.split(0))

    def place_columns(self, local: flow.Tensor) -> flow.Tensor:
        """Return the tensor over all ranks of which ``local`` [1, 1, ...] is this rank's part along the second axis."""
        return self._place(local, flow.sbp.split(1))

    def to_every_rank(self, tensor: flow.Tensor) -> flow.Tensor:
        """Return ``tensor`` complete on each rank where rows are sharded; elsewhere each rank keeps its own part."""
        return tensor.to_global(sbp=flow.sbp.broadcast) if self.is_sharded else tensor

    def _place(self, local: flow.Tensor, sbp: flow.sbp.sbp) -> flow.Tensor:
        if self.placement is None:
            return local
        return local.to_global(self.placement, sbp if self.is_sharded else flow.sbp.broadcast)


LOCAL = HeadLayout()
