"""The settings of a head. Needs no framework."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from ops.heads.class_shards import ClassShards
from ops.losses.options import Classes, LossOptions


@dataclass(frozen=True)
class HeadOptions:
    """What a head is built from; fields are the keys of sample_config.py.

    Attributes:
        num_classes: number of classes; unused by the triplet losses, like everything else but ``loss``.
        emb_size: length of the embeddings.
        loss: the loss and its numbers.
        model_parallel: split the class rows over the ranks; otherwise each rank holds all of them.
        partial_fc: only a sample of the class rows takes part in a step. Implies ``model_parallel``.
        sample_ratio: share of each rank's classes in the sample, in (0, 1].
        train_batch_size: images per step over all ranks, an upper bound of the classes in a batch. For Partial FC.
        num_subcenters: rows (centres) per class, of which the nearest counts.
        fc7_no_bias: plain softmax without a bias.
        fc7_dtype: how rows and moments are stored, ``float32`` or ``bf16`` (CPU kernels); biases are float32.
        seed: of the initial rows, of the samples, of the rounding of bf16 rows and of random margins.
        teacher_logits: weight of the divergence from a teacher's softmax over the classes (``ops.heads.distillation``).
        teacher_temperature: divides the logits of both in it.
        class_sizes: images of each class, int64 [num_classes]; for losses that go by them.
    """

    num_classes: int = 0
    emb_size: int = 512
    loss: LossOptions = field(default_factory=LossOptions)
    model_parallel: bool = True
    partial_fc: bool = False
    sample_ratio: float = 1.0
    train_batch_size: int = 0
    num_subcenters: int = 1
    fc7_no_bias: bool = False
    fc7_dtype: str = "float32"
    seed: int = 0
    teacher_logits: float = 0.0
    teacher_temperature: float = 1.0
    class_sizes: np.ndarray | None = field(default=None, compare=False, repr=False)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> HeadOptions:
        """Take the known keys of ``config``; a missing key means its default."""
        own = {key.name: config[key.name] for key in fields(cls) if key.name != "loss" and key.name in config}
        return cls(loss=LossOptions.from_config(config), **own)

    def describe_classes(self, shards: ClassShards) -> Classes:
        """Return what the loss may know of the classes."""
        ratio = self.sample_ratio if self.partial_fc else 1.0
        edges = (shards.real_rows(i) for i in range(shards.shards))
        return Classes(sum(math.ceil((stop - start) * ratio) for start, stop in edges), self.class_sizes, self.seed)

    @property
    def has_bias(self) -> bool:
        """Whether each class has a bias: that of plain softmax, unless ``fc7_no_bias``."""
        return self.loss.loss_name == "softmax" and not self.fc7_no_bias
