"""Verification of a trained model in any format, alone: the numbers that training prints, and a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interchange.open_model import TrainedModel, open_model
from launch.rank import RankReporter, run_as_rank
from settings.config import Config


def run_rank(config: Config) -> None:
    """Be one rank of a verification run. Never returns; the process ends here."""
    run_as_rank(_verify, config)


def _verify(config: Config, reporter: RankReporter) -> None:
    # Imported here, so that the launching process stays free of OneFlow.
    from backbones.execution.backbone import Backbone
    from engine.train_graph import Embedder
    from engine.verifier import Validator, load_sets
    from evaluation.report import format_table, write_report
    from evaluation.verification import log_lines
    from launch.world import join_world
    from ops import flow

    world = join_world(config.device)
    model = open_model(config.model_load_dir)
    sets = load_sets(config)
    backbone = Backbone(model.network, model.arrays, native=config.native_ops, bfloat16=config.use_bf16)
    backbone = backbone.to_global(world.placement, flow.sbp.broadcast)
    batch = config.val_batch_size or config.val_batch_size_per_device * world.size
    validator = Validator(sets, Embedder(backbone, world, batch), config.nrof_folds, reporter)
    results = validator.run()
    if world.rank > 0:
        return
    for result in results:
        print(*log_lines(result, model.about["step"]), sep="\n")
    print(format_table(results))
    if config.report:
        write_report(config.report, results, validator.images_per_second, describe_run(config, model), sets)
        print(f"report: {config.report}")


def describe_run(config: Mapping[str, Any], model: TrainedModel) -> dict[str, Any]:
    """Return what the report says of the model."""
    return {"model": model.path, **model.about, "device": config["device"]}
