"""Verification of a backbone on one or more sets of pairs, while training and alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from data.verification_set import VerificationSet, load_verification_set
from engine.train_graph import Embedder
from evaluation.verification import VerificationResult, embed_set, verify_embeddings
from launch.rank import RankReporter
from settings.places import find_set


def load_sets(config: Mapping[str, Any]) -> list[VerificationSet]:
    """Read every set of ``val_targets``.

    Raises:
        UserError: a set is missing or damaged; the message says where it was looked for and how to convert it.
    """
    parts = config["val_data_part_num"]
    return [load_verification_set(find_set(config, t), t, config["image_size"], parts) for t in config["val_targets"]]


class Validator:
    """Embeds the sets over all ranks and computes their numbers."""

    def __init__(self, sets: Sequence[VerificationSet], embedder: Embedder, folds: int, reporter: RankReporter) -> None:
        self._sets = sets
        self._embedder = embedder
        self._folds = folds
        self._reporter = reporter
        self.images_per_second: dict[str, float] = {}

    def run(self) -> list[VerificationResult]:
        """Return one result per set, the same on every rank. A collective call."""
        return [self._verify(each) for each in self._sets]

    def _verify(self, each: VerificationSet) -> VerificationResult:
        start = time.perf_counter()
        plain, flipped = embed_set(
            self._embedder, each.images, each.index, self._embedder.batch_size, on_batch=self._reporter.heartbeat
        )
        self.images_per_second[each.name] = 2 * len(each.images) / (time.perf_counter() - start)
        return verify_embeddings(each.name, plain, flipped, each.issame, self._folds)
