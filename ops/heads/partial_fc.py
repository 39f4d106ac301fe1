"""Partial FC (An et al., arXiv:2010.05222, arXiv:2203.15565): a head that sees a sample of the class rows in each step.

The fc7 weight stays where it is, one shard per rank. The sampled rows go into the graph and their gradient comes out;
rows that were not sampled keep weight and momentum, and neither rows nor their gradients cross ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ops import flow
from ops.heads.base import ClassHead, Ranks
from ops.heads.class_sampling import ClassSampling
from ops.heads.margin_softmax import MarginSoftmax, make_padding
from ops.losses.margin import Margin
from ops.rows.bank import make_row_bank
from ops.rows.storage import RowStorage


class PartialFCHead(ClassHead):
    """A model parallel head whose loss is over the classes of the batch and a sample of the others.

    Each rank brings ``sampling.slots`` rows to a step; slots that the sample leaves over are masked like padding rows.

    Attributes:
        sampling: what is drawn in each step.
        banks: the weight's and the bias's, which update the rows of the last ``inputs``.
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
        sample_ratio: float,
        batch_size: int,
        bias: bool = False,
        seed: int = 0,
        centres: int = 1,
        storage: RowStorage | None = None,
    ) -> None:
        """Make the head.

        Args:
            num_classes: classes in all.
            emb_size: length of the embeddings.
            placement: the ranks.
            rank: this one.
            margin: None is the plain softmax on raw embeddings.
            scale: of the cosines; unused without a margin.
            sample_ratio: share of each rank's class rows that takes part in a step, in (0, 1].
            batch_size: images in a step, over all ranks; the largest number of their classes.
            bias: whether each class has one.
            seed: of the initial rows and of the samples.
            centres: rows per class; with a class all of them take part. More than one only without a bias.
            storage: where the CPU keeps rows and momentum; in memory unless it is given.
        """
        super().__init__(
            num_classes,
            emb_size,
            placement,
            rank,
            model_parallel=True,
            bias=bias,
            seed=seed,
            centres=centres,
            storage=storage,
        )
        self.sampling = ClassSampling(self.shards, sample_ratio, batch_size, seed)
        in_place = margin is None or not margin.uses_centres
        self.banks = {
            name: make_row_bank(parameter.to_local().detach(), storage, in_place)
            for name, parameter in self.named_parameters()
        }
        self._rows_in_step = self.sampling.slots * centres
        self._placement = placement
        self.loss = MarginSoftmax(
            self.shards.shards,
            self.sampling.slots,
            self.shard,
            placement,
            margin=margin,
            scale=scale,
            model_parallel=True,
            centres=centres,
        )

    def inputs(self, labels: np.ndarray, step: int, ranks: Ranks) -> list[flow.Tensor]:
        """See ``Head``: labels that count in slots, the mask of the slots, and the sampled rows of each parameter."""
        if self.sampling.is_everybody:
            sampled, remapped = np.arange(np.diff(self.shards.real_rows(self.shard))[0]), labels
        else:
            sampled, remapped = self._sample(labels, step, ranks)
        padding = make_padding(len(sampled), self.sampling.slots)
        own_rows = (sampled[:, None] * self.centres + np.arange(self.centres)).reshape(-1)
        rows = [ranks.split(bank.gather(own_rows, self._rows_in_step)) for bank in self.banks.values()]
        return [ranks.split(remapped), ranks.split(padding, axis=1), *rows]

    def _sample(self, labels: np.ndarray, step: int, ranks: Ranks) -> tuple[np.ndarray, np.ndarray]:
        """Return this rank's rows of the step, and in which slots the classes of its images are."""
        everybody = ranks.gather(labels)
        sampled = self.sampling.draw(self.shard, everybody, step)
        slots = ranks.gather(self.sampling.find_slots(self.shard, sampled, everybody)).reshape(-1, len(everybody))
        first = ranks.rank * len(labels)
        own = np.arange(first, first + len(labels))
        return sampled, slots[everybody[own] // self.shards.rows, own]

    def find_trained(self, labels: flow.Tensor, padding: flow.Tensor, *rows: flow.Tensor) -> list[flow.Tensor]:
        """See ``Head``: the sampled rows."""
        return list(rows)

    def find_gradients(self, returned: Sequence[flow.Tensor]) -> list[flow.Tensor]:
        """See ``Head``: those of the sampled rows."""
        found = [bank.find_gradients(part.to_local()) for bank, part in zip(self.banks.values(), returned, strict=True)]
        return [gradient.to_global(self._placement, flow.sbp.split(0), check_meta=False) for gradient in found]

    def forward(
        self, embeddings: flow.Tensor, labels: flow.Tensor, padding: flow.Tensor, *rows: flow.Tensor
    ) -> tuple[flow.Tensor, flow.Tensor, flow.Tensor]:
        """Return what ``MarginSoftmax`` does, among the sampled classes.

        Args:
            embeddings: float32 [B, E], split(0).
            labels: int32 [B], split(0): the slots of the images' classes.
            padding: float32 [1, ranks, slots], split(1).
            rows: split(0), what the banks gathered of the sampled ones: float32 [ranks * slots * centres, E] of the
                weight, or a reference to them, and [ranks * slots] of the bias if there is one.
        """
        opened = (bank.open(given, self._rows_in_step) for bank, given in zip(self.banks.values(), rows, strict=True))
        weight, bias = [*opened, None][:2]
        return self.loss(embeddings, labels, weight, bias, padding)
