"""Train as one rank: build the run from the settings, load the start values, and train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from backbones import build_backbone, build_network
from backbones.execution.backbone import Backbone
from data.sources.base import ImageSource
from data.sources.class_sizes import count_images
from engine.log import RunLog
from engine.options import StepOptions
from engine.preflight import (
    describe_freezing,
    describe_missing_snapshot,
    describe_run,
    open_source,
    starting_label_map,
    starting_progress,
    starting_snapshot,
)
from engine.saving import Saver
from engine.schedule import Progress, make_plan
from engine.step import TrainStep
from engine.teacher_model import open_teacher
from engine.teacher_rows import TeacherRows, find_teacher_rows
from engine.trainer import Trainer
from engine.verify import open_verifier
from interchange.open_model import TrainedModel
from interchange.pretrained import read_pretrained
from launch.rank import RankReporter
from launch.world import World, check_shared, configure_transfers, join_world
from ops import KERNELS, flow
from ops.heads.base import Head
from ops.heads.build import build_head
from ops.heads.options import HeadOptions
from ops.rows.storage import RowStorage
from settings.choices import LOSSES_BY_SIZE, TRIPLET_LOSSES
from settings.config import Config
from settings.places import run_directory, storage_directory
from snapshots.class_rows import describe_rows, load_head
from snapshots.label_map import LabelMap
from snapshots.reader import Snapshot


def head_options(config: Mapping[str, Any], source: ImageSource) -> HeadOptions:
    """Return what the head is built from, with the size of each class where the loss goes by it."""
    options = HeadOptions.from_config(config)
    by_size = config["loss_name"] in LOSSES_BY_SIZE
    return replace(options, class_sizes=count_images(source)) if by_size else options


def build_modules(
    config: Mapping[str, Any], world: World, source: ImageSource, label_map: LabelMap | None
) -> tuple[Backbone, Head, list[str]]:
    """Return backbone and head as global tensors, and lines about the arrays taken from ``pretrained``.

    ``source``: the images of the run, which some losses count.

    Raises:
        UserError: the pretrained model does not fit.
    """
    backbone = build_backbone(config, config["seed"])
    head = build_head(head_options(config, source), world, RowStorage(storage_directory(config)))
    lines = []
    if config["pretrained"]:
        pretrained = read_pretrained(config["pretrained"], build_network(config), config)
        backbone.load_arrays({**backbone.named_arrays(), **pretrained.arrays})
        without_rows = config["loss_name"] in TRIPLET_LOSSES
        rows = "this loss has no class rows" if without_rows else "class rows start from initial values"
        if label_map is not None:
            snapshot = Snapshot.open(config["pretrained"])
            load_head(head, snapshot, label_map)
            rows = describe_rows(head, snapshot, label_map)
        lines.append(f"pretrained from {config['pretrained']}: {pretrained.describe()}; {rows}")
        lines += [f"pretrained from {config['pretrained']}: {note}" for note in pretrained.notes]
    return backbone.to_global(world.placement, flow.sbp.broadcast), head, lines


def teach_classes(head: Head, rows: TeacherRows | None) -> None:
    """Give ``head`` the class rows of a teacher; None gives none.

    Raises:
        UserError: they cannot be read.
    """
    if rows is not None:
        head.learn_from(rows.read_units, rows.length, rows.centres)


def open_log(
    config: Mapping[str, Any],
    backbone: Backbone,
    source: ImageSource,
    world: World,
    start: Progress,
    model: TrainedModel | None,
    taught: TeacherRows | None,
) -> RunLog:
    """Open the log and describe the run; a launching process has printed the description already."""
    log = RunLog(run_directory(config, config["log_dir"]), world.rank == 0, start.step)
    log.write(*describe_run(config, backbone.network, source, world.size, start, model, taught))
    return log


def describe_modules(config: Mapping[str, Any], backbone: Backbone, head: Head) -> list[str]:
    """Return lines about how head and backbone compute."""
    lines = [head.describe()]
    if config["partial_fc"]:
        lines.append(
            f"Partial FC: sample ratio {config['sample_ratio']:g}, "
            f"{head.sampling.slots} of {head.shards.rows} rows per rank and step"
        )
    return [*lines, f"{KERNELS}; backbone: {backbone.executor}"]


def train(config: Config, reporter: RankReporter) -> None:
    """Train as one rank of a run, to its end; ``config`` is complete.

    Raises:
        UserError: data, snapshot or settings do not fit, or the training diverges.
    """
    # ---- where: this rank among all ranks
    world = join_world(config.device)
    configure_transfers(config)
    check_shared(run_directory(config, config.models_root), world)

    # ---- what: images, network and head, and where they start from
    source = open_source(config)
    snapshot, label_map = starting_snapshot(config), starting_label_map(config)
    backbone, head, taken_over = build_modules(config, world, source, label_map)
    start = starting_progress(snapshot, source)
    model = open_teacher(config)
    taught = find_teacher_rows(config, model)
    teach_classes(head, taught)
    log = open_log(config, backbone, source, world, start, model, taught)
    log.say(*describe_modules(config, backbone, head), *describe_missing_snapshot(config), *taken_over)
    log.say(*describe_freezing(config, start.step))

    # ---- how: the step, the plan, and what is kept
    plan = make_plan(config, len(source), start)
    teacher = None
    if model is not None:
        from engine.teacher import Teacher  # here, because other runs need nothing of it

        teacher = Teacher(model, config, world)
        model = None  # its arrays are the teacher's alone
    train_step = TrainStep(StepOptions.from_config(config), world, backbone, head, teacher)
    saver = Saver(config, plan, train_step, log, reporter)
    if snapshot is not None:
        saver.load(snapshot, label_map)
    trainer = Trainer(config, plan, train_step, saver, log, reporter)
    if config.do_validation_while_train and (config.val_targets or config.val_protocols):
        trainer.verifier = open_verifier(config, backbone, world, reporter)
    if trainer.verifier is not None and config.val_protocols:
        from engine.protocols.runner import ProtocolRunner  # here, because other runs need nothing of it

        trainer.protocols = ProtocolRunner(config, trainer.verifier, world, reporter)
    names = [*config.val_targets, *(f"{name}_ema" for name in config.val_targets if config.ema_decay)]
    log.record_settings(config, ["train/loss", *(f"{name}/accuracy" for name in names)])

    try:
        if teacher is not None and config.teacher_cache and not teacher.open_cache(config, source, log, reporter):
            reporter.stop_requested = True  # another rank may have been asked; the exit code says it everywhere
            log.say("stopped; the same command continues the teacher's embeddings")
            world.barrier()
            return
        trainer.run(source)
    finally:  # also of a run that diverges: TensorBoard's file holds back the last two minutes
        log.close()
