"""Heads of every loss on cosines, and their inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import sample_config
from ops.heads.class_sampling import ClassSampling
from ops.heads.class_shards import ClassShards, initial_class_rows
from ops.losses.options import Classes, LossOptions
from ops.losses.registry import build_margin

SEED, EMB_SIZE, BATCH, STEPS = 5, 16, 12, 3
FORMS = ("model_parallel", "replicated", "partial_fc")
RATIO = 0.4


@dataclass(frozen=True)
class LossCase:
    """A loss of sample_config with other values of some keys."""

    name: str
    loss: str
    changes: dict[str, Any] = field(default_factory=dict, hash=False)
    num_classes: int = 41  # not a multiple of 2 or 3
    is_slow: bool = False

    @property
    def config(self) -> dict[str, Any]:
        return {**sample_config.config, "loss_s": 16.0, **sample_config.loss[self.loss], **self.changes}

    @property
    def centres(self) -> int:
        return self.config["num_subcenters"]

    def weight(self) -> np.ndarray:
        return initial_class_rows(SEED, 0, self.num_classes * self.centres, EMB_SIZE)

    def rows(self, classes: np.ndarray) -> np.ndarray:
        """Return the row numbers of ``classes``."""
        return np.concatenate([np.arange(self.centres) + self.centres * i for i in classes])

    @property
    def sizes(self) -> np.ndarray:
        """Images of each class, from 1."""
        return np.random.default_rng(SEED).integers(1, 100, self.num_classes)

    def margins(self, step: int) -> np.ndarray | None:
        """Return the margins of the images of a step, float [B]; None where the loss has none."""
        labels = self.labels(step)
        if self.config["loss_name"] == "elasticface":
            return build_margin(LossOptions.from_config(self.config), Classes(seed=SEED)).image_margins(labels, step, 0)
        if self.config["loss_name"] == "dynamic_arcface":  # as the authors compute it
            wanted = np.sqrt(1 / np.sqrt(self.sizes))
            return ((wanted - wanted.min()) / (wanted.max() - wanted.min()) * 0.45 + 0.05)[labels]
        return None

    def classes_in_step(self, ranks: int) -> int:
        """Return how many classes a step has with Partial FC on ``ranks`` ranks, or with all classes (0)."""
        shards = ClassShards(self.num_classes, max(1, ranks))
        real = [stop - start for start, stop in map(shards.real_rows, range(shards.shards))]
        return sum(math.ceil(RATIO * rows) for rows in real) if ranks else self.num_classes

    def labels(self, step: int) -> np.ndarray:
        return np.random.default_rng([1, step]).integers(0, self.num_classes, BATCH).astype(np.int32)

    def embeddings(self, step: int) -> np.ndarray:
        """Embeddings near their centre, opposite to it, one longer than the others, the rest random."""
        embeddings = np.random.default_rng([2, step]).normal(0, 1, (BATCH, EMB_SIZE))
        own = self.weight()[self.labels(step) * self.centres] * 100
        embeddings[:3] = 5 * own[:3] + embeddings[:3]
        embeddings[3:5] = -5 * own[3:5] + embeddings[3:5]
        embeddings[5] *= 40
        return embeddings.astype(np.float32)

    def sampled(self, ranks: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes that take part in ``step`` with Partial FC, ascending, and their slots."""
        sampling = ClassSampling(ClassShards(self.num_classes, ranks), RATIO, BATCH, SEED)
        drawn = [sampling.draw(i, self.labels(step), step) for i in range(ranks)]
        classes = [rows + sampling.shards.real_rows(i)[0] for i, rows in enumerate(drawn)]
        slots = [np.arange(len(rows)) + i * sampling.slots for i, rows in enumerate(drawn)]
        return np.concatenate(classes), np.concatenate(slots)


CASES = (
    LossCase("easy_arcface", "arcface", {"easy_margin": True}),
    LossCase("easy_combined", "combined", {"easy_margin": True}),
    LossCase("smooth_arcface", "arcface", {"label_smoothing": 0.3}),
    LossCase("arc_loss", "arc_loss"),
    LossCase("easy_arc_loss", "arc_loss", {"easy_margin": True}),
    LossCase("filtered_arcface", "arcface", {"interclass_filtering_threshold": 0.3}),
    LossCase("sphereface", "sphereface"),
    LossCase("sphereface_late", "sphereface", {"loss_m1": 3.0, "loss_lambda_base": 4.0, "loss_lambda_min": 3.3}),
    LossCase("sphereface_frozen", "sphereface", {"loss_lambda_base": 9.0, "loss_lambda_freeze": 1}),
    LossCase("sphereface_without_margin", "sphereface", {"loss_m1": 1.0}),
    LossCase("curricularface_late", "curricularface", {"loss_t_alpha": 0.7}),
    LossCase("filtered_curricularface", "curricularface", {"interclass_filtering_threshold": 0.3}),
    LossCase("adaface", "adaface"),
    LossCase("adaface_late", "adaface", {"loss_t_alpha": 0.95, "loss_h": 1.5}),
    LossCase("magface", "magface", {"loss_l_a": 3.5, "loss_u_a": 30.0}),
    LossCase("magface_hard", "magface", {"loss_l_a": 3.5, "loss_u_a": 30.0, "easy_margin": False}, is_slow=True),
    LossCase("mv_am", "mv_am", {"easy_margin": False}, is_slow=True),
    LossCase("subcenter_mv_arc", "mv_arc", {"num_subcenters": 2}),
    LossCase("circle", "circle", {"loss_gamma": 32.0}),
    LossCase("filtered_circle", "circle", {"loss_gamma": 32.0, "interclass_filtering_threshold": 0.3}, is_slow=True),
    LossCase("elastic_arcface", "elastic_arcface", is_slow=True),
    LossCase("elastic_cosface_plus", "elastic_cosface", {"loss_plus": True, "loss_std": 0.2}),
    LossCase("dynamic_arcface", "dynamic_arcface"),
    LossCase("adacos", "adacos"),
    LossCase("subcenter_adacos", "adacos", {"num_subcenters": 2}, is_slow=True),
    LossCase("uniface", "uniface", is_slow=True),
    LossCase("filtered_uniface", "uniface", {"loss_l": 0.3, "interclass_filtering_threshold": 0.3}),
    LossCase("subcenter_intra", "intra", {"loss_b": 3.0, "num_subcenters": 2}),
    LossCase("filtered_inter", "inter", {"loss_b": 20.0, "interclass_filtering_threshold": 0.3}),
    LossCase("subcenter_arcface", "arcface", {"num_subcenters": 3}),
    LossCase("subcenter_curricularface", "curricularface", {"num_subcenters": 2}),
)
