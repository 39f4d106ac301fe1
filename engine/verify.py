"""Verification on sets of pairs, over all ranks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backbones.execution.backbone import Backbone
from data.verification.verification_set import VerificationSet, load_verification_set
from engine.embedder import Embedder
from evaluation.pairs.principal_components import PcaAccuracy, verify_with_pca
from evaluation.verification import VerificationResult, add_mirrored, check_folds, embed_set, verify_embeddings
from launch.rank import RankReporter
from launch.world import World
from settings.places import verification_path
from settings.protocols import compares_sets


@dataclass(frozen=True)
class VerifierOptions:
    """What a verifier computes beyond the usual results.

    Attributes:
        mirrored: an embedding is f(image) + f(mirrored image), otherwise f(image).
        pca: number of principal components that accuracy is given for, too; 0: none.
        keep_rows: keep the embeddings.
    """

    mirrored: bool = True
    pca: int = 0
    keep_rows: bool = False


class Verifier:
    """Embeds verification sets over all ranks and computes their results.

    Attributes:
        sets: the sets in memory.
        embedder: what embeds.
        images_per_second: of the last verification of each set, by its name.
        pca: the accuracy with principal components for each set, by its name, if it is asked for.
        rows: embeddings [M, E] of the M distinct images of each set, by its name, if they are to be kept.
    """

    def __init__(
        self,
        sets: Sequence[VerificationSet],
        embedder: Embedder,
        folds: int,
        far_targets: Sequence[float],
        reporter: RankReporter,
        options: VerifierOptions = VerifierOptions(),  # noqa: B008 (it is frozen)
    ) -> None:
        """Take the sets in memory and the function that embeds."""
        self.sets = sets
        self.embedder = embedder
        self._folds = folds
        self._far_targets = far_targets
        self._reporter = reporter
        self._options = options
        self.images_per_second: dict[str, float] = {}
        self.pca: dict[str, PcaAccuracy] = {}
        self.rows: dict[str, np.ndarray] = {}

    def run(self) -> list[VerificationResult]:
        """Return one result per set, the same on every rank. A collective call."""
        return [self._verify(each) for each in self.sets]

    def _verify(self, each: VerificationSet) -> VerificationResult:
        start, mirrored = time.perf_counter(), self._options.mirrored
        plain, flipped = embed_set(
            self.embedder,
            each.images,
            each.index,
            self.embedder.batch_size,
            on_batch=self._reporter.heartbeat,
            mirrored=mirrored,
        )
        passes = 2 if mirrored else 1
        self.images_per_second[each.name] = passes * len(each.images) / (time.perf_counter() - start)
        result = verify_embeddings(each.name, plain, flipped, each.issame, self._folds, self._far_targets)
        if self._options.pca or self._options.keep_rows:
            self._look_closer(each, add_mirrored(each.name, plain, flipped, each.issame))
        return result

    def _look_closer(self, each: VerificationSet, rows: np.ndarray) -> None:
        """Compute what the options ask for, from the embeddings [2N, E] of a set."""
        if self._options.pca:
            self.pca[each.name] = verify_with_pca(each.name, rows, each.issame, self._options.pca, self._folds)
        if self._options.keep_rows:
            _, first = np.unique(each.index, return_index=True)
            self.rows[each.name] = rows[first].astype(np.float32)


def load_sets(config: Mapping[str, Any], image_size: int) -> list[VerificationSet]:
    """Read every set of ``val_targets``.

    Raises:
        UserError: a set is missing or damaged (the message says where it is expected and how to convert it), or has
            fewer pairs than folds.
    """
    parts = config["val_data_part_num"]
    names = config["val_targets"]
    sets = [load_verification_set(verification_path(config, name), name, image_size, parts) for name in names]
    for each in sets:
        check_folds(each.name, len(each.issame), config["nrof_folds"])
    return sets


def make_verifier(
    config: Mapping[str, Any],
    backbone: Backbone,
    world: World,
    reporter: RankReporter,
    sets: Sequence[VerificationSet],
    options: VerifierOptions = VerifierOptions(),  # noqa: B008 (it is frozen)
) -> Verifier:
    """Return the verifier of ``backbone``, whose tensors are global, on sets in memory."""
    batch = config["val_batch_size"] or config["val_batch_size_per_device"] * world.size
    embedder = Embedder(backbone, world, batch)
    return Verifier(sets, embedder, config["nrof_folds"], config["far_targets"], reporter, options)


def open_verifier(config: Mapping[str, Any], backbone: Backbone, world: World, reporter: RankReporter) -> Verifier:
    """Read every set of ``val_targets`` and return the verifier of ``backbone``, whose tensors are global.

    It keeps the embeddings if ``val_protocols`` compares the sets as groups.

    Raises:
        UserError: a set is missing or damaged, or has fewer pairs than folds.
    """
    options = VerifierOptions(keep_rows=compares_sets(config))
    return make_verifier(config, backbone, world, reporter, load_sets(config, config["image_size"]), options)
