"""Verification on sets of pairs: while training (``Verifier``), and of a trained model alone (``verify``)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from backbones.execution.backbone import Backbone
from data.verification.verification_set import VerificationSet, load_verification_set
from engine.embedder import Embedder
from evaluation.verification import VerificationResult, check_folds, embed_set, log_lines, verify_embeddings
from interchange.open_model import TrainedModel, open_model
from launch.rank import RankReporter
from launch.world import World, join_world
from ops import flow
from settings.config import Config
from settings.places import verification_path


class Verifier:
    """Embeds verification sets over all ranks and computes their results.

    Attributes:
        sets: the sets in memory.
        images_per_second: of the last verification of each set, by its name.
    """

    def __init__(
        self,
        sets: Sequence[VerificationSet],
        embedder: Embedder,
        folds: int,
        far_targets: Sequence[float],
        reporter: RankReporter,
    ) -> None:
        """Take the sets in memory and the function that embeds."""
        self.sets = sets
        self._embedder = embedder
        self._folds = folds
        self._far_targets = far_targets
        self._reporter = reporter
        self.images_per_second: dict[str, float] = {}

    def run(self) -> list[VerificationResult]:
        """Return one result per set, the same on every rank. A collective call."""
        return [self._verify(each) for each in self.sets]

    def _verify(self, each: VerificationSet) -> VerificationResult:
        start = time.perf_counter()
        plain, flipped = embed_set(
            self._embedder, each.images, each.index, self._embedder.batch_size, on_batch=self._reporter.heartbeat
        )
        self.images_per_second[each.name] = 2 * len(each.images) / (time.perf_counter() - start)
        return verify_embeddings(each.name, plain, flipped, each.issame, self._folds, self._far_targets)


def open_verifier(config: Mapping[str, Any], backbone: Backbone, world: World, reporter: RankReporter) -> Verifier:
    """Read every set of ``val_targets`` and return the verifier of ``backbone``, whose tensors are global.

    Raises:
        UserError: a set is missing or damaged (the message says where it is expected and how to convert it), or has
            fewer pairs than folds.
    """
    size, parts = config["image_size"], config["val_data_part_num"]
    sets = [load_verification_set(verification_path(config, name), name, size, parts) for name in config["val_targets"]]
    for each in sets:
        check_folds(each.name, len(each.issame), config["nrof_folds"])
    batch = config["val_batch_size"] or config["val_batch_size_per_device"] * world.size
    return Verifier(sets, Embedder(backbone, world, batch), config["nrof_folds"], config["far_targets"], reporter)


def describe_model(config: Mapping[str, Any], model: TrainedModel) -> dict[str, Any]:
    """Return the report's description of the model."""
    return {"model": model.path, **model.about, "device": config["device"]}


def verify(config: Config, reporter: RankReporter) -> None:
    """Verify a trained model in any format as one rank, print InsightFace's lines and write the report."""
    from evaluation.report import (
        format_table,
        format_thresholds,
        write_report,
    )  # imported here because it loads matplotlib

    world = join_world(config.device)
    model = open_model(config.model_load_dir)
    backbone = Backbone(model.network, model.arrays, native=config.native_ops, bfloat16=config.use_bf16)
    verifier = open_verifier(config, backbone.to_global(world.placement, flow.sbp.broadcast), world, reporter)
    results = verifier.run()
    if world.rank > 0:
        return
    for result in results:
        print(*log_lines(result, model.about["step"]), sep="\n")
    print(format_table(results))
    if any(result.thresholds for result in results):
        print(format_thresholds(results))
    if config.report:
        write_report(config.report, results, verifier.images_per_second, describe_model(config, model), verifier.sets)
        print(f"report: {config.report}")
