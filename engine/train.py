"""From settings to a running Trainer: what the launching process checks, and what each rank does."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backbones import build_network
from backbones.graph.flops import count_flops, count_parameters
from common.errors import UserError
from data.filtered_source import FilteredSource
from data.ofrecord_source import OFRecordSource
from data.source import ImageSource
from data.synthetic import SyntheticSource
from data.triplets import TripletBags
from engine.memory import check_disk, check_memory, estimate_memory, free_memory
from engine.schedule import make_plan
from interchange.open_model import read_pretrained
from launch.rank import RankReporter, run_as_rank
from settings.choices import TRIPLET_LOSSES
from settings.config import Config
from settings.places import check_sets, find_storage, run_directory
from settings.precision import check_bfloat16, describe_precision
from snapshots.label_map import LabelMap, read_label_map
from snapshots.reader import Snapshot, newest_snapshot


def open_source(config: Mapping[str, Any]) -> ImageSource:
    """Return the training images, without those of identities that ``data_images_filter`` leaves out.

    Raises:
        UserError: the folder is absent or damaged, the message says what must be there and how to convert it; or no
            identity has enough images.
    """
    classes, size = config["num_classes"], config["image_size"]
    if config["use_synthetic_data"]:
        source = SyntheticSource(config["total_img_num"], classes, size, config["seed"])
    else:
        source = OFRecordSource(config["dataset_dir"], classes, size, config["train_data_part_num"])
    return FilteredSource(source, config["data_images_filter"]) if config["data_images_filter"] > 1 else source


def find_start(config: Mapping[str, Any]) -> Snapshot | None:
    """Return the snapshot the run goes on from, None for a new run.

    Raises:
        UserError: it cannot be resumed, or a new run would overwrite the snapshots of an older one.
    """
    root = run_directory(config, config["models_root"])
    newest = newest_snapshot(root)
    if config["resume"] and newest is not None:
        path = newest
    elif newest is not None and newest.resolve() != Path(config["model_load_dir"]).resolve():
        raise UserError(
            f"{newest} is there from an earlier run; --resume 1 continues it, another --models_root keeps it apart"
        )
    elif config["model_load_dir"]:
        path = Path(config["model_load_dir"])
    else:
        return None
    snapshot = Snapshot.open(path)
    if not snapshot.is_full:
        raise UserError(f"{path} is a backbone-only snapshot and cannot resume a run; give it to --pretrained")
    return snapshot


def find_label_map(config: Mapping[str, Any]) -> LabelMap | None:
    """Return the map from the classes of the snapshot that the run starts from; None if it goes by its own classes.

    A run that goes on from a snapshot of its own (``resume``) has them already.

    Raises:
        UserError: the map cannot be read.
    """
    own = newest_snapshot(run_directory(config, config["models_root"]))
    if not config["label_map"] or (config["resume"] and own is not None):
        return None
    return read_label_map(config["label_map"])


def _check_label_map(label_map: LabelMap, path: str, num_classes: int) -> None:
    given = Snapshot.open(path)
    if not given.has_classes:
        raise UserError(f"{path} is a snapshot without class rows: there are none for {label_map.path}")
    label_map.check_sizes(given.about["fc7"]["num_classes"], num_classes)


def check_run(config: Config, ranks: int) -> None:
    """Check everything that can be checked before a rank is started.

    Raises:
        UserError: data, snapshot, sizes or memory do not fit.
    """
    find_start(config)
    label_map = find_label_map(config)
    if label_map is not None:
        _check_label_map(label_map, config.pretrained or config.model_load_dir, config.num_classes)
    if config.pretrained:
        read_pretrained(config.pretrained, build_network(config))
    source = open_source(config)
    if config.loss_name in TRIPLET_LOSSES:
        TripletBags.from_config(config, source)
    if config.do_validation_while_train and config.val_targets:
        check_sets(config)
    plan = make_plan(config, len(source))
    network = build_network(config)
    check_bfloat16(config, network)
    print("Called with argument:", dict(sorted(config.items())))
    for line in describe_precision(config, ranks, network):
        print(f"note: {line}")
    if config.count_flops:
        print(f"Network FLOPs: {count_flops(network) / 1e9:.2f}G  parameters: {count_parameters(network) / 1e6:.2f}M")
    estimate = estimate_memory(config, network, ranks)
    print(estimate.describe())
    if config.device == "cpu":
        local_ranks = ranks // config.num_nodes
        storage = find_storage(config)
        if storage is not None:
            check_disk(estimate, local_ranks, storage)
        warning = check_memory(estimate, local_ranks, free_memory())
        if warning:
            print(warning, file=sys.stderr)
    if isinstance(source, FilteredSource):
        print(
            f"data_images_filter {config.data_images_filter}: {source.num_left_out} identities are left out, "
            f"{source.num_identities} stay"
        )
    print(
        f"{len(source)} images of {config.num_classes} classes, {plan.steps_per_epoch} steps an epoch, "
        f"{plan.total_steps} steps in all on {ranks} rank(s)",
        flush=True,
    )


def run_rank(config: Config) -> None:
    """Be one rank of a training run; ``config`` is complete. Never returns; the process ends here."""
    run_as_rank(_train, config)


def _train(config: Config, reporter: RankReporter) -> None:
    # Imported here, so that the launching process stays free of OneFlow.
    from backbones import build_backbone
    from engine.saving import load_head
    from engine.train_graph import Embedder
    from engine.trainer import Trainer
    from engine.verifier import Validator, load_sets
    from launch.world import check_shared, configure_transfers, join_world
    from ops import KERNELS, flow
    from ops.heads.base import ClassHead
    from ops.heads.build import build_head
    from ops.rows.storage import RowStorage

    world = join_world(config.device)
    configure_transfers(config)
    check_shared(run_directory(config, config.models_root), world)
    source = open_source(config)
    snapshot = find_start(config)
    backbone = build_backbone(config, config.seed)
    head = build_head(config, world.placement, world.rank, RowStorage(find_storage(config)))
    label_map = find_label_map(config)
    if config.pretrained:
        backbone.load_arrays(read_pretrained(config.pretrained, backbone.network))
        if label_map is not None:
            load_head(head, Snapshot.open(config.pretrained), label_map)
    backbone = backbone.to_global(world.placement, flow.sbp.broadcast)
    log_dir = run_directory(config, config.log_dir)
    trainer = Trainer(
        config, world, backbone, head, make_plan(config, len(source)), reporter, log_dir, snapshot, label_map
    )
    trainer.log.say(head.describe())
    if config.partial_fc:
        trainer.log.say(
            f"Partial FC: sample ratio {config.sample_ratio:g}, "
            f"{head.sampling.slots} of {head.shards.rows} rows per rank and step"
        )
    trainer.log.say(f"{KERNELS}; backbone: {backbone.executor}")
    if snapshot is not None:
        trainer.log.say(f"resumed from {snapshot.path} at step {trainer.step}")
    if isinstance(head, ClassHead):
        known = head.shards.num_classes
        if label_map is not None:
            known = len(label_map.new)
        elif snapshot is not None:
            known = snapshot.about["fc7"]["num_classes"]
        if known < head.shards.num_classes:
            trainer.log.say(f"{head.shards.num_classes - known} classes are new: they start from their initial rows")
    if config.do_validation_while_train and config.val_targets:
        batch = config.val_batch_size or config.val_batch_size_per_device * world.size
        trainer.validator = Validator(load_sets(config), Embedder(backbone, world, batch), config.nrof_folds, reporter)
    trainer.run(source)
