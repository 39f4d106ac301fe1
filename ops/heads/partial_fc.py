"""Partial FC (An et al., arXiv:2010.05222, arXiv:2203.15565): a head that sees a sample of the class rows in each step.

The fc7 weight is one shard per rank. The selected rows go into the graph and their gradient comes out; all other rows
keep weight and momentum, and neither rows nor their gradients cross ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from typing_extensions import override

from ops import flow
from ops.heads.base import ClassHead, HeadResult, Ranks, ReadUnitRows
from ops.heads.class_sampling import ClassSampling
from ops.heads.distillation import TaughtClasses
from ops.heads.layout import HeadLayout
from ops.heads.margin_softmax import MarginSoftmax, make_padding
from ops.heads.options import HeadOptions
from ops.losses.registry import build_margin
from ops.rows.constant_rows import ConstantRows
from ops.rows.make_bank import make_row_bank
from ops.rows.storage import RowStorage


class PartialFCHead(ClassHead):
    """A model parallel head whose loss is over the classes of the batch and a sample of the others.

    Each rank brings ``sampling.slots`` rows to a step; slots that the sample does not use are masked like padding rows.
    A training loop around a compiled graph, with the head's two calls::

        for step, (images, labels) in enumerate(batches):
            inputs = head.prepare(labels, step, world)
            loss, *gradients = graph(images, *inputs)   # calls head(backbone(images), *inputs)
            optimizer.step(head.row_gradients(gradients), lr_scale)

    Attributes:
        sampling: which rows are drawn in each step.
        banks: the row banks of weight and bias, which update the rows that ``prepare`` selected.
    """

    def __init__(self, options: HeadOptions, layout: HeadLayout, storage: RowStorage | None = None) -> None:
        """Make the rows with the initial values of the seed, and their banks.

        Args:
            options: the settings. Without ``partial_fc`` each step samples all rows. A bias needs one centre per class.
            layout: a model parallel one; for bfloat16 rows also a replicated one.
            storage: where a CPU keeps rows and moments; None means in memory.
        """
        super().__init__(options, layout, storage)
        ratio = options.sample_ratio if options.partial_fc else 1.0
        self.sampling = ClassSampling(self.shards, ratio, options.train_batch_size, options.seed)
        margin = build_margin(options.loss, options.describe_classes(self.shards))
        referenced = margin is None or not margin.uses_centres
        self.banks = {} if self.bfloat16_rows is None else {"weight": self.bfloat16_rows}
        self.banks |= {
            name: make_row_bank(parameter.to_local().detach(), storage, referenced)
            for name, parameter in self.named_parameters()
        }
        self._rows_in_step = self.sampling.slots * self.centres
        is_ahead = storage is not None and storage.is_mapped and not self.sampling.samples_all_classes
        self._reader = ThreadPoolExecutor(1) if is_ahead else None
        self._reading: Future[None] | None = None
        self._gradient_sbps = self.gradient_sbps
        self._storage = storage or RowStorage()
        self._taught: ConstantRows | None = None
        settings = (options.loss.loss_s, layout, self.sampling.slots, self.centres, options.loss.label_smoothing)
        self.loss = MarginSoftmax(margin, *settings, (options.teacher_logits, options.teacher_temperature))

    @override
    def learn_from(self, read: ReadUnitRows, length: int, centres: int = 1) -> None:
        super().learn_from(read, length, centres)
        device = self.layout.placement.type
        storage = self._storage if device == "cpu" else RowStorage()
        self._taught = ConstantRows(self._read_taught(read, storage), device, not self.layout.is_sharded)

    @override
    def prepare(self, labels: np.ndarray, step: int = 0, ranks: Ranks | None = None) -> list[flow.Tensor]:
        """Return labels as slots, the mask of the slots, and the selected rows of each parameter. A collective call.

        After the labels come the margins of the images, where the loss has them; last the same rows of a teacher.

        Raises:
            ValueError: there are no ``ranks``.
        """
        if ranks is None:
            raise ValueError("Partial FC needs the ranks, also if there is only one: pass a World")
        if self.sampling.samples_all_classes:
            sampled, slots = np.arange(np.diff(self.shards.real_rows(self.shard))[0]), labels
        else:
            sampled, slots = self._sample(labels, step, ranks)
        padding = make_padding(len(sampled), self.sampling.slots)
        own_rows = self._rows_of(sampled)
        if self._reader is not None and (self._reading is None or self._reading.done()):
            self._reading = self._reader.submit(self._read_ahead, step + 1)
        rows = [bank.select(own_rows, self._rows_in_step) for bank in self.banks.values()]
        if self._taught is not None:
            slots_of_rows = self.sampling.slots * self.taught_centres
            rows.append(self._taught.select(self._rows_of(sampled, self.taught_centres), slots_of_rows))
        of_images = [ranks.split(slots), *self._image_margins(labels, step, ranks)]
        if not self.layout.is_sharded:
            whole = self.layout.place_columns(flow.from_numpy(padding))
            return [*of_images, whole, *map(self._place_whole, rows)]
        return [*of_images, ranks.split(padding, axis=1), *map(ranks.split, rows)]

    def _rows_of(self, sampled: np.ndarray, centres: int = 0) -> np.ndarray:
        """Return the numbers of the rows of sampled classes, ``centres`` of each, by default as many as in the head."""
        centres = centres or self.centres
        return (sampled[:, None] * centres + np.arange(centres)).reshape(-1)

    def _read_ahead(self, step: int) -> None:
        """Have the disk read the rows of a coming step while this one computes.

        They are those that a batch without any class of this shard draws: all but the classes of the images, which are
        not known yet, and as many of the last drawn.
        """
        sampled = self.sampling.draw(self.shard, np.zeros(0, np.int32), step)
        rows = self._rows_of(sampled)
        for bank in self.banks.values():
            bank.read_ahead(rows)
        if self._taught is not None:
            self._taught.read_ahead(self._rows_of(sampled, self.taught_centres))

    def _place_whole(self, selected: flow.Tensor) -> flow.Tensor:
        """Return as a global tensor what a replicated bank selected: each rank's reference, or a bias."""
        is_reference = selected.dtype == flow.float64
        sbp = flow.sbp.split(0) if is_reference else flow.sbp.broadcast
        return selected.to_global(self.layout.placement, sbp, check_meta=False)

    def _sample(self, labels: np.ndarray, step: int, ranks: Ranks) -> tuple[np.ndarray, np.ndarray]:
        """Return this rank's rows of the step, and the slots of the classes of its images."""
        all_labels = ranks.gather(labels)
        sampled = self.sampling.draw(self.shard, all_labels, step)
        slots = ranks.gather(self.sampling.slots_of(self.shard, sampled, all_labels)).reshape(-1, len(all_labels))
        first = ranks.rank * len(labels)
        own = np.arange(first, first + len(labels))
        return sampled, slots[all_labels[own] // self.shards.rows, own]

    @override
    def row_gradients(self, returned: Sequence[flow.Tensor]) -> list[flow.Tensor]:
        """Return the gradients of the selected rows; valid until a graph is called again."""
        banks = list(self.banks.values())
        of_rows, of_numbers = returned[: len(banks)], returned[len(banks) :]
        found = [bank.row_gradients(part.to_local()) for bank, part in zip(banks, of_rows, strict=True)]
        gradients = []
        for gradient, sbp in zip(found, self._gradient_sbps, strict=True):
            # The graph leaves the gradient of replicated rows in each rank's memory: that of its part of the batch.
            is_part = sbp[0] != self.layout.rows
            own = flow.sbp.partial_sum if is_part else self.layout.rows
            whole = gradient.to_global(self.layout.placement, own, check_meta=False)
            gradients.append(whole.to_global(sbp=self.layout.rows) if is_part else whole)
        return [*of_numbers, *gradients]

    @property
    @override
    def gradient_sbps(self) -> list[tuple[flow.sbp.sbp, ...]]:
        sbps = [] if self.bfloat16_rows is None else [(flow.sbp.split(0),)]  # a reference of each rank
        return sbps + super().gradient_sbps

    @override
    def forward(
        self, embeddings: flow.Tensor, labels: flow.Tensor, *others: flow.Tensor, taught: flow.Tensor | None = None
    ) -> HeadResult:
        """Return loss and metrics among the sampled classes.

        Args:
            embeddings: float32 [B, E], split(0).
            labels: int32 [B], split(0): the slots of the images' classes.
            others: the margins of the images, float32 [B], split(0), if the loss has them; the padding, float32 [1,
                ranks, slots], split(1); and split(0) what the banks selected: float32 [ranks * slots * centres, E] of
                the weight or a ``RowsHandle``, and [ranks * slots] of the bias if there is one; and what was selected
                of a teacher's rows, like the weight, if there is a teacher.
            taught: a teacher's embeddings, float32 [B, F], split(0), whose classes came by ``learn_from``.
        """
        margins, (padding, *rows) = (others[0], others[1:]) if self.loss.has_image_margins else (None, others)
        classes = None
        if self._taught is not None:
            of_teacher = self._taught.open(rows.pop(), self.sampling.slots * self.taught_centres)
            classes = TaughtClasses(taught, of_teacher, self.taught_centres) if taught is not None else None
        opened = (bank.open(given, self._rows_in_step) for bank, given in zip(self.banks.values(), rows, strict=True))
        weight, bias = [*opened, None][:2]
        result = self.loss(embeddings, labels, weight, bias, padding, margins, classes)
        return HeadResult(*result, [*rows, *self.loss.trained_numbers().values()])
