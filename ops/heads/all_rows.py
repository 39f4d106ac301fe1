"""A head that computes with all class rows in each step: local, replicated or model parallel."""

from __future__ import annotations

from typing_extensions import override

from ops import flow
from ops.heads.base import ClassHead, HeadResult, ReadUnitRows
from ops.heads.distillation import TaughtClasses
from ops.heads.layout import LOCAL, HeadLayout
from ops.heads.margin_softmax import MarginSoftmax, make_padding
from ops.heads.options import HeadOptions
from ops.losses.registry import build_margin
from ops.rows.storage import RowStorage


class MarginSoftmaxHead(ClassHead):
    """Softmax cross entropy over all classes, with the margin of the chosen loss.

    On global tensors inside nn.Graph; with the local layout also on local tensors, eagerly::

        head = MarginSoftmaxHead(HeadOptions(num_classes=10, emb_size=512))
        head(embeddings, *head.prepare(labels)).loss.backward()   # embeddings [B, 512], labels int32 [B]
    """

    def __init__(self, options: HeadOptions, layout: HeadLayout = LOCAL) -> None:
        super().__init__(options, layout)
        margin, rows = build_margin(options.loss, options.describe_classes(self.shards)), self.shards.rows
        smoothing = options.loss.label_smoothing
        teacher = (options.teacher_logits, options.teacher_temperature)
        self.loss = MarginSoftmax(margin, options.loss.loss_s, layout, rows, self.centres, smoothing, teacher)
        padding = None
        if self.shards.padded > self.shards.num_classes:
            start, stop = self.shards.real_rows(self.shard)
            padding = layout.place_columns(flow.tensor(make_padding(stop - start, rows)))
        self.register_buffer("_padding", padding)

    @override
    def learn_from(self, read: ReadUnitRows, length: int, centres: int = 1) -> None:
        super().learn_from(read, length, centres)
        self.register_buffer("_taught", self.layout.place_rows(flow.from_numpy(self._read_taught(read, RowStorage()))))

    @override
    def forward(
        self,
        embeddings: flow.Tensor,
        labels: flow.Tensor,
        margins: flow.Tensor | None = None,
        taught: flow.Tensor | None = None,
    ) -> HeadResult:
        """Return loss and metrics among all classes.

        Args:
            embeddings: float32 [B, E], split(0).
            labels: int32 [B] in 0..num_classes-1, split(0).
            margins: of the images, float32 [B], split(0); None where the loss has none.
            taught: a teacher's embeddings, float32 [B, F], split(0), whose classes came by ``learn_from``.
        """
        classes = None if taught is None else TaughtClasses(taught, self._taught, self.taught_centres)
        result = self.loss(embeddings, labels, self.weight, self.bias, self._padding, margins, classes)
        rows = [self.weight] if self.bias is None else [self.weight, self.bias]
        return HeadResult(*result, [*rows, *self.loss.trained_numbers().values()])
