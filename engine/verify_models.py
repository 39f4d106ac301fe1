"""Verify trained models: print InsightFace's lines, tables and thresholds, and write the reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbones.execution.backbone import Backbone
from common.files import atomic_file
from data.verification.verification_set import VerificationSet
from engine.group_report import SETS, GroupMap, write_groups
from engine.verification_report import BAD_CASES, model_folders, write_comparison, write_model_report
from engine.verify import Verifier, VerifierOptions, load_sets, make_verifier
from evaluation.baseline import verify_pixels
from evaluation.comparison.compare import compare_models
from evaluation.comparison.published import PUBLISHED
from evaluation.comparison.tables import format_comparison
from evaluation.groups.group_table import format_groups
from evaluation.groups.pair_groups import GroupReport
from evaluation.pairs.principal_components import check_components
from evaluation.report import format_table, format_thresholds
from evaluation.report_form import to_json
from evaluation.verification import VerificationResult, log_lines
from interchange.image_input import InputFlags
from interchange.open_model import TrainedModel, is_snapshot, open_model
from launch.rank import RankReporter
from launch.world import World, join_world
from ops import flow
from settings.config import Config
from settings.protocols import compares_sets

if TYPE_CHECKING:
    from engine.protocols.base import Outcome

RAW_PIXELS = "raw pixels"


@dataclass(frozen=True)
class VerifiedModel:
    """A model and its results.

    Attributes:
        model: the model.
        verifier: what verified it.
        results: its results, one for each set.
        groups: the comparison of groups, if it is asked for.
        outcomes: the results of ``val_protocols``.
    """

    model: TrainedModel
    verifier: Verifier
    results: list[VerificationResult]
    groups: GroupReport | None
    outcomes: list[Outcome]


class ModelVerification:
    """Verifies one model after the other on the same sets, which are read once."""

    def __init__(self, config: Config, world: World, reporter: RankReporter) -> None:
        self._config = config
        self._world = world
        self._reporter = reporter
        self._groups: GroupMap | None = None
        self.sets: dict[int, list[VerificationSet]] = {}  # by the size of the images

    def run(self, name: str) -> VerifiedModel:
        """Verify a model. A collective call.

        Raises:
            UserError: the model, a set or the file of groups cannot be used, or there are too few principal components.
        """
        config = self._config
        model = open_model(name, InputFlags() if is_snapshot(name) else InputFlags.of(config))
        backbone = Backbone(model.network, model.arrays, native=config.native_ops, bfloat16=config.use_bf16)
        backbone = backbone.to_global(self._world.placement, flow.sbp.broadcast)
        sets = self._load(model.network.shapes[model.network.nodes[0].name][1])
        if config.pca:
            for each in sets:
                size = model.network.embedding_size
                check_components(each.name, config.pca, len(each.issame), size, config.nrof_folds)
        options = VerifierOptions(config.flip, config.pca, config.groups == SETS or compares_sets(config))
        verifier = make_verifier(config, backbone, self._world, self._reporter, sets, options)
        results = verifier.run()
        outcomes: list[Outcome] = []
        if config.val_protocols:
            from engine.protocols.runner import ProtocolRunner  # here, because other commands need nothing of it

            outcomes = ProtocolRunner(config, verifier, self._world, self._reporter).run(results)
        groups = None
        if self._groups is not None and self._world.rank == 0:
            labels = [each.issame for each in sets]
            groups = self._groups.compare(results, labels, verifier.rows, config.far_targets)
        return VerifiedModel(model, verifier, results, groups, outcomes)

    def _load(self, image_size: int) -> list[VerificationSet]:
        if image_size not in self.sets:
            self.sets[image_size] = load_sets(self._config, image_size)
        if self._config.groups and self._groups is None:
            pairs = {each.name: len(each.issame) for each in self.sets[image_size]}
            self._groups = GroupMap(self._config.groups, self._config.group_pairs, pairs)
        return self.sets[image_size]


def verify(config: Config, reporter: RankReporter) -> None:
    """Verify trained models in any format as one rank, print InsightFace's lines and write the reports.

    One model has its report in the folder of the reports. Of several, each has it in a folder of its name, and the
    comparison lies beside.
    """
    world = join_world(config.device)
    verification = ModelVerification(config, world, reporter)
    folders = model_folders(config.models)
    verified: dict[str, VerifiedModel] = {}
    for name in config.models:
        found = verification.run(name)
        if world.rank > 0:
            continue
        verified[name] = found
        if len(config.models) > 1:
            print(f"model {name}")
        _print_model(found)
        if config.report:
            folder = Path(config.report) / (folders[name] if len(folders) > 1 else "")
            _write_model(config, folder, found)
    if world.rank > 0:
        return
    if len(verified) > 1 or config.raw_pixels or config.published:
        _compare(config, verified, next(iter(verification.sets.values())), folders)
    if config.report:
        print(f"report: {config.report}")


def describe_model(config: Mapping[str, Any], model: TrainedModel) -> dict[str, Any]:
    """Return the report's description of the model."""
    return {"model": model.path, **model.about, "device": config["device"]}


def _print_model(found: VerifiedModel) -> None:
    found.model.print_notes()
    step = found.model.about["step"]
    for result in found.results:
        print(*log_lines(result, step), sep="\n")
        if result.name in found.verifier.pca:
            print(found.verifier.pca[result.name].line(step))
    print(format_table(found.results))
    if any(result.thresholds for result in found.results):
        print(format_thresholds(found.results))
    if found.groups is not None:
        print(format_groups(found.groups))
    for outcome in found.outcomes:
        print(*outcome.log_lines(step), sep="\n")


def _write_model(config: Config, folder: Path, found: VerifiedModel) -> None:
    verifier = found.verifier
    about = describe_model(config, found.model)
    sets, labels = verifier.sets, [each.issame for each in verifier.sets]
    write_model_report(folder, found.results, verifier.images_per_second, about, sets, labels, config.bad_cases)
    if verifier.pca:
        with atomic_file(folder / "pca.json", "w") as handle:
            described = {name: accuracy.describe() for name, accuracy in verifier.pca.items()}
            json.dump(to_json(described), handle, indent=2, allow_nan=False)
            handle.write("\n")
    if found.groups is not None:
        write_groups(folder, found.groups)
    if found.outcomes:
        with atomic_file(folder / "protocols.json", "w") as handle:
            json.dump(to_json({each.name: each.numbers for each in found.outcomes}), handle, indent=2, allow_nan=False)
            handle.write("\n")


def _compare(
    config: Config, verified: Mapping[str, VerifiedModel], sets: list[VerificationSet], folders: Mapping[str, str]
) -> None:
    """Print and write the comparison of the models, with raw pixels if they are asked for."""
    results = {name: found.results for name, found in verified.items()}
    if config.raw_pixels:
        results[RAW_PIXELS] = [
            verify_pixels(each.name, each.images, each.index, each.issame, config.nrof_folds, config.far_targets)
            for each in sets
        ]
    labels = [each.issame for each in sets]
    comparison = compare_models(results, labels, config.far_targets, PUBLISHED if config.published else {})
    print(format_comparison(comparison))
    for result in next(iter(results.values())):  # as InsightFace's verification.py
        best = max(found.results[comparison.sets.index(result.name)].accuracy for found in verified.values())
        print(f"Max of [{result.name}] is {best:1.5f}")
    if config.report:
        root = Path(config.report)
        places = {name: root / (folders[name] if len(folders) > 1 else "") for name in verified}
        sheets = {name: place / BAD_CASES for name, place in places.items()} if config.bad_cases else {}
        texts = [
            (f"{name}: groups", format_groups(found.groups))
            for name, found in verified.items()
            if found.groups is not None
        ]
        texts += [
            (f"{name}: {outcome.name}", "\n".join(outcome.lines))
            for name, found in verified.items()
            for outcome in found.outcomes
        ]
        write_comparison(root, comparison, results, sheets, texts)
