"""How class rows, logits and the batch lie over the ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ops import flow


@dataclass(frozen=True)
class HeadLayout:
    """The SBP of a head's tensors. Another layout is another strategy: nothing else in a head decides it.

    ==============  =============  =============  ===================  ==============================
    layout          rows [C, E]    logits [B, C]  batch [B, E], [B]    crosses ranks
    ==============  =============  =============  ===================  ==============================
    ``LOCAL``       local          local          local                nothing: one process
    replicated      broadcast      split(0)       split(0)             the gradient of the rows
    model parallel  split(0)       split(1)       broadcast            embeddings and their gradient
    Partial FC      split(0), of   split(1)       broadcast            embeddings and their gradient
                    a sample
    ==============  =============  =============  ===================  ==============================

    Attributes:
        placement: the ranks; None for local tensors in one process.
        rank: this process.
        rows: SBP of the class rows and their gradient.
        logits: SBP of the logits.
        batch: SBP of embeddings and labels where they meet the rows; the backbone hands them over split(0).
    """

    placement: flow.placement | None = None
    rank: int = 0
    rows: flow.sbp.sbp = flow.sbp.broadcast
    logits: flow.sbp.sbp = flow.sbp.split(0)
    batch: flow.sbp.sbp = flow.sbp.split(0)

    @classmethod
    def replicated(cls, placement: flow.placement, rank: int) -> HeadLayout:
        """Return the layout in which each rank holds all rows and computes with its part of the batch."""
        return cls(placement, rank)

    @classmethod
    def model_parallel(cls, placement: flow.placement, rank: int) -> HeadLayout:
        """Return the layout in which each rank holds a shard of the rows and computes with the whole batch."""
        return cls(placement, rank, flow.sbp.split(0), flow.sbp.split(1), flow.sbp.broadcast)

    @property
    def is_sharded(self) -> bool:
        """Whether each rank holds a shard of the rows."""
        return self.rows == flow.sbp.split(0)

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
        return local if self.placement is None else local.to_global(self.placement, self.rows)

    def place_columns(self, local: flow.Tensor) -> flow.Tensor:
        """Return the tensor over all ranks of which ``local`` [1, C / shards, ...] is this rank's part."""
        if self.placement is None:
            return local
        return local.to_global(self.placement, self.logits if self.is_sharded else flow.sbp.broadcast)

    def to_every_rank(self, tensor: flow.Tensor) -> flow.Tensor:
        """Return ``tensor`` complete on each rank where rows are sharded; elsewhere each rank keeps its own part."""
        return tensor.to_global(sbp=self.batch) if self.is_sharded else tensor


LOCAL = HeadLayout()
