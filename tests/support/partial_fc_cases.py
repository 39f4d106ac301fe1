"""Partial FC heads, their inputs, and the same training in float64 numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ops.heads.class_sampling import ClassSampling
from ops.heads.class_shards import ClassShards, initial_class_rows
from tests.support.head_reference import compute_head
from tests.support.update_reference import update_adamw

SEED, EMB_SIZE, BATCH, STEPS = 5, 16, 12, 20
LR, MOMENTUM, WEIGHT_DECAY = 0.05, 0.9, 0.0005
ADAMW = {"lr": 0.005, "betas": (0.9, 0.99), "eps": 1e-6, "weight_decay": 0.05}


@dataclass(frozen=True)
class PartialCase:
    """One head; ``margin`` None is the plain softmax; labels are below ``present``."""

    name: str
    margin: tuple[float, float, float] | None
    bias: bool = False
    num_classes: int = 101  # not a multiple of 2, 3 or 4
    ratio: float = 0.3
    present: int = 101
    scale: float = 16.0
    adamw: bool = False
    clip: float = 0.0

    def labels(self, step: int) -> np.ndarray:
        return np.random.default_rng([1, step]).integers(0, self.present, BATCH).astype(np.int32)

    def embeddings(self, step: int) -> np.ndarray:
        return np.random.default_rng([2, step]).normal(0, 1, (BATCH, EMB_SIZE)).astype(np.float32)

    def sampling(self, ranks: int) -> ClassSampling:
        return ClassSampling(ClassShards(self.num_classes, ranks), self.ratio, BATCH, SEED)

    def sampled(self, ranks: int, step: int) -> np.ndarray:
        """Return the classes that take part in ``step``, ascending."""
        sampling, labels = self.sampling(ranks), self.labels(step)
        return np.concatenate([sampling.draw(i, labels, step) + sampling.shards.real_rows(i)[0] for i in range(ranks)])


CASES = (
    PartialCase("softmax", None, bias=True),
    PartialCase("softmax_no_bias", None),
    PartialCase("nsoftmax", (1.0, 0.0, 0.0)),
    PartialCase("arcface", (1.0, 0.5, 0.0)),
    PartialCase("cosface", (1.0, 0.0, 0.35)),
    PartialCase("combined", (1.0, 0.3, 0.2)),
    PartialCase("batch_exceeds_share", (1.0, 0.5, 0.0), ratio=0.01),
    PartialCase("classes_without_images", (1.0, 0.5, 0.0), present=30),  # on 4 ranks two never have positives
    PartialCase("few_classes", (1.0, 0.5, 0.0), num_classes=5, present=5, ratio=0.5),  # on 4 ranks the last has none
    PartialCase("all_rows", None, bias=True, ratio=1.0),
    PartialCase("adamw", (1.0, 0.5, 0.0), adamw=True),
    PartialCase("clipped", None, bias=True, clip=0.3),
)


@dataclass(frozen=True)
class Step:
    """A step's outcome: the classes' arrays are those after it, [num_classes, ...]."""

    loss: float
    correct: int
    embeddings: np.ndarray
    arrays: dict[str, np.ndarray]


def train_reference(case: PartialCase, ranks: int) -> Iterator[Step]:
    """Yield every step of the training on ``ranks`` ranks, in float64."""
    arrays = {"weight": initial_class_rows(SEED, 0, case.num_classes, EMB_SIZE).astype(np.float64)}
    if case.bias:
        arrays["bias"] = np.zeros(case.num_classes)
    kinds = ("momentum", "variance") if case.adamw else ("momentum",)
    arrays |= {f"{name}_{kind}": np.zeros_like(array) for name, array in arrays.items() for kind in kinds}
    for step in range(STEPS):
        rows = case.sampled(ranks, step)
        labels = np.searchsorted(rows, case.labels(step))
        bias = arrays["bias"][rows] if case.bias else None
        values = compute_head(case.embeddings(step), arrays["weight"][rows], labels, case.margin, case.scale, bias)
        gradients = {name: getattr(values, name) for name in ("weight", "bias")[: 1 + case.bias]}
        factor = 1.0
        if case.clip:
            squares = ((array**2).sum() for array in (values.embeddings, *gradients.values()))
            factor = min(1.0, case.clip / np.sqrt(sum(squares)))
        for name, gradient in gradients.items():
            own = [arrays[name], *(arrays[f"{name}_{kind}"] for kind in kinds)]
            changed = _update(case, [array[rows] for array in own], gradient * factor, step)
            for array, part in zip(own, changed, strict=True):
                array[rows] = part
        yield Step(values.loss, values.correct, values.embeddings, {name: a.copy() for name, a in arrays.items()})


def _update(case: PartialCase, arrays: list[np.ndarray], gradient: np.ndarray, step: int) -> Sequence[np.ndarray]:
    """Return a parameter's rows and their moments after the update."""
    if case.adamw:
        return update_adamw(*arrays, gradient, **ADAMW, step=step + 1)
    weight, momentum = arrays
    momentum = MOMENTUM * momentum + gradient + WEIGHT_DECAY * weight
    return weight - LR * momentum, momentum
