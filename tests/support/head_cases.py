"""Heads and inputs for the tests of the head, on ranks and in numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ops.heads.class_shards import initial_class_rows
from ops.losses.options import LossOptions

SEED = 5
EMB_SIZE = 16
BATCH = 8
FORMS = ("model_parallel", "replicated")


@dataclass(frozen=True)
class HeadCase:
    """One head; ``margin`` None is the plain softmax."""

    name: str
    margin: tuple[float, float, float] | None
    scale: float = 64.0
    bias: bool = False
    num_classes: int = 31  # not a multiple of 2 or 4

    def labels(self) -> np.ndarray:
        return (np.array([3, 30, 0, 17, 7, 3, 24, 11]) % self.num_classes).astype(np.int32)

    def weight(self) -> np.ndarray:
        return initial_class_rows(SEED, 0, self.num_classes, EMB_SIZE)

    def bias_values(self) -> np.ndarray | None:
        values = np.random.default_rng(SEED).normal(0, 0.5, self.num_classes)
        return values.astype(np.float32) if self.bias else None


CASES = (
    HeadCase("softmax", None, bias=True),
    HeadCase("softmax_no_bias", None),
    HeadCase("nsoftmax", (1.0, 0.0, 0.0)),
    HeadCase("arcface", (1.0, 0.5, 0.0)),
    HeadCase("cosface", (1.0, 0.0, 0.35)),
    HeadCase("combined", (1.0, 0.3, 0.2)),
    HeadCase("sphere", (1.35, 0.0, 0.0), scale=32.0),
    HeadCase("all_margins", (0.9, 0.4, 0.15), scale=16.0),
    HeadCase("few_classes", (1.0, 0.5, 0.0), num_classes=5),  # on 4 ranks the last has padding only
)


def loss_options(margin: tuple[float, float, float] | None, scale: float) -> LossOptions:
    """Return the options of the combined margin, or of the plain softmax."""
    if margin is None:
        return LossOptions("softmax", scale)
    return LossOptions("margin_softmax", scale, *margin)


def usual_embeddings() -> np.ndarray:
    return np.random.default_rng(SEED + 1).normal(0, 2, (BATCH, EMB_SIZE)).astype(np.float32)


def extreme_embeddings(case: HeadCase) -> np.ndarray:
    """Embeddings on, opposite to and next to their own centre; the last one is all zeros."""
    own = case.weight()[case.labels()]
    embeddings = usual_embeddings()
    factors = np.array([300, -300, 1, -1, 1e-3, -1e4], np.float32)
    embeddings[:6] = own[:6] * factors[:, None]
    embeddings[6] = own[6] * 100 + 1e-4
    embeddings[7] = 0
    return embeddings
