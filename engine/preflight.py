"""Checks a run before a rank is started, and finds what it starts from. Free of OneFlow."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backbones import build_network
from backbones.graph.flops import count_flops, count_parameters
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from common.free_memory import free_memory
from data.loading.triplets import TripletBags
from data.sources.base import ImageSource
from data.sources.filtered import FilteredSource
from data.sources.synthetic import SyntheticSource
from engine.disk import check_disk, check_snapshots
from engine.memory import check_memory, estimate_memory
from engine.schedule import Progress, make_plan, read_progress
from engine.teacher_model import describe_teacher, open_teacher
from engine.teacher_rows import TeacherRows, find_teacher_rows
from engine.verification_sets import check_evaluation
from interchange.image_input import require_same_images
from interchange.open_model import TrainedModel
from interchange.pretrained import Pretrained, read_pretrained
from settings.choices import TRIPLET_LOSSES
from settings.config import Config
from settings.places import run_directory, storage_directory
from settings.precision import check_bfloat16, describe_precision
from snapshots.label_map import LabelMap, read_label_map
from snapshots.reader import Snapshot, newest_snapshot


def open_images(config: Mapping[str, Any]) -> ImageSource:
    """Return all training images.

    Raises:
        UserError: the folder is absent or damaged; the message says what is expected there and how to make it.
    """
    classes, size = config["num_classes"], config["image_size"]
    if config["use_synthetic_data"]:
        return SyntheticSource(config["total_img_num"], classes, size, config["seed"])
    from data.sources.training_set import open_training_set  # loads OpenCV, which synthetic images do not need

    return open_training_set(config["dataset_dir"], classes, size, config["train_data_part_num"])


def filter_images(config: Mapping[str, Any], images: ImageSource) -> ImageSource:
    """Return the images without those of identities that ``data_images_filter`` leaves out.

    Raises:
        UserError: no identity has enough images.
    """
    return FilteredSource(images, config["data_images_filter"]) if config["data_images_filter"] > 1 else images


def open_source(config: Mapping[str, Any]) -> ImageSource:
    """Return the images to train on.

    Raises:
        UserError: ``open_images`` or ``filter_images`` fails.
    """
    return filter_images(config, open_images(config))


def describe_images(images: ImageSource) -> list[str]:
    """Return lines about what is written beside the images, or assumed of them, and they contradict.

    Raises:
        UserError: the run would train on something else than what is written.
    """
    if isinstance(images, SyntheticSource):
        return []
    from data.sources.training_set import check_training_set

    return check_training_set(images)


def starting_snapshot(config: Mapping[str, Any]) -> Snapshot | None:
    """Return the snapshot that the run resumes from, None for a new run.

    Raises:
        UserError: the snapshot cannot be resumed from, or a new run would overwrite the snapshots of an older one.
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
    if config["ema_decay"]:
        snapshot.average()  # it is there
    return snapshot


def starting_progress(snapshot: Snapshot | None, source: ImageSource) -> Progress:
    """Return how far the run has come whose snapshot is loaded; a new run is at its beginning."""
    return Progress() if snapshot is None else read_progress(snapshot.about, len(source))


def describe_missing_snapshot(config: Mapping[str, Any]) -> list[str]:
    """Return a line if ``resume`` is set and the run has no snapshot yet: where one was expected, what happens now."""
    root = run_directory(config, config["models_root"])
    if not config["resume"] or newest_snapshot(root) is not None:
        return []
    instead = f"starting from {config['model_load_dir']}" if config["model_load_dir"] else "starting a new run"
    return [f"--resume 1: there is no snapshot_* in {root}; {instead}"]


def starting_label_map(config: Mapping[str, Any]) -> LabelMap | None:
    """Return the map from the classes of the snapshot that the run starts from; None if it needs none.

    A run that resumes from one of its own snapshots has its classes already.

    Raises:
        UserError: the map cannot be read.
    """
    own = newest_snapshot(run_directory(config, config["models_root"]))
    if not config["label_map"] or (config["resume"] and own is not None):
        return None
    return read_label_map(config["label_map"])


def _check_label_map(label_map: LabelMap, path: str, config: Config) -> None:
    given = Snapshot.open(path)
    if not given.has_classes:
        raise UserError(f"{path} is a snapshot without class rows: there are none for {label_map.path}")
    label_map.check_sizes(given.about["fc7"]["num_classes"], config.num_classes)
    length = given.about["fc7"].get("emb_size", config.emb_size)
    if length != config.emb_size:
        raise UserError(
            f"--label_map {label_map.path}: the class rows of {path} have length {length}, those of this run "
            f"{config.emb_size}; omit it, and they start anew"
        )


def _check_frozen_layers(config: Config, pretrained: Pretrained | None, has_snapshot: bool) -> None:
    """Check that what the run freezes was trained before.

    Raises:
        UserError: the run starts from initial weights, wholly or in layers that ``pretrained`` does not have.
    """
    flags = {
        f"--freeze_backbone_steps {config.freeze_backbone_steps}": config.freeze_backbone_steps,
        "--freeze_bn 1": config.freeze_bn,
    }
    given = " and ".join(flag for flag, is_given in flags.items() if is_given)
    if not given or has_snapshot:
        return
    if pretrained is None:
        raise UserError(f"{given} would freeze initial values; give --pretrained: a trained network to start from")
    if pretrained.anew:
        raise UserError(
            f"{given} would freeze the initial values of {len(pretrained.anew)} arrays that {config.pretrained} does "
            f"not fill ({', '.join(pretrained.anew[:3])}...): train without it first, then start from that snapshot"
        )


def describe_freezing(config: Mapping[str, Any], step: int) -> list[str]:
    """Return lines about what a run at ``step`` finished steps does not train."""
    lines, frozen = [], config["freeze_backbone_steps"]
    if step < frozen:
        lines.append(
            f"steps {step + 1} to {frozen} train the class rows alone; the backbone embeds as in verification: "
            "BatchNorm by its running statistics, no dropout"
        )
    if config["freeze_bn"]:
        lines.append("BatchNorm keeps gammas, betas and running statistics, and normalises by these")
    return lines


def describe_run(
    config: Mapping[str, Any],
    network: NetworkGraph,
    source: ImageSource,
    ranks: int,
    start: Progress,
    teacher: TrainedModel | None = None,
    taught: TeacherRows | None = None,
) -> list[str]:
    """Return lines for the log: settings, number formats, FLOPs, teacher, memory, images and steps.

    ``taught`` are the class rows of ``teacher`` where the run learns its softmax.
    """
    plan = make_plan(config, len(source), start)
    lines = [f"Called with argument: {dict(sorted(config.items()))}"]
    lines += [f"note: {line}" for line in describe_precision(config, ranks, network)]
    if config["count_flops"]:
        flops, parameters = count_flops(network) / 1e9, count_parameters(network) / 1e6
        lines.append(f"Network FLOPs: {flops:.2f}G  parameters: {parameters:.2f}M")
    if teacher is not None:
        lines += describe_teacher(teacher, config, network)
    lines.append(estimate_memory(config, network, ranks, teacher and teacher.network, taught).describe())
    if isinstance(source, FilteredSource):
        lines.append(
            f"data_images_filter {config['data_images_filter']}: {source.num_left_out} identities are left out, "
            f"{source.num_identities} stay"
        )
    lines.append(
        f"{len(source)} images of {config['num_classes']} classes, {plan.steps_per_epoch} steps an epoch, "
        f"{plan.total_steps} steps in all on {ranks} rank(s)"
    )
    if config["train_batch_size"] > len(source):
        shown = config["train_batch_size"] / len(source)
        lines.append(
            f"note: each batch of {config['train_batch_size']} shows the {len(source)} images {shown:.1f} times and "
            "counts as one epoch; a smaller --train_batch_size counts them more closely"
        )
    return lines


def check_run(config: Config, ranks: int) -> None:
    """Check everything that can be checked before a rank is started, and print what the run will be.

    Raises:
        UserError: data, snapshot, sizes or memory do not fit.
    """
    snapshot, label_map = starting_snapshot(config), starting_label_map(config)
    if label_map is not None:
        _check_label_map(label_map, config.pretrained or config.model_load_dir, config)
    network = build_network(config)
    if snapshot is not None:
        require_same_images(str(snapshot.path), snapshot.about, network)
    pretrained = read_pretrained(config.pretrained, network, config) if config.pretrained else None
    _check_frozen_layers(config, pretrained, snapshot is not None)
    teacher = open_teacher(config)
    taught = find_teacher_rows(config, teacher)
    images = open_images(config)
    for notice in describe_images(images):
        print(f"note: {notice}")
    source = filter_images(config, images)
    if isinstance(source, FilteredSource) and source.num_identities == 1:
        raise UserError(
            f"--data_images_filter {config.data_images_filter} leaves the images of one person, but training compares "
            "people; use a smaller one"
        )
    if config.loss_name in TRIPLET_LOSSES:
        TripletBags.from_config(config, source)
    if config.do_validation_while_train:
        for notice in check_evaluation(config):
            print(f"note: {notice}")
    check_bfloat16(config, network)
    start = starting_progress(snapshot, source)
    print(*describe_run(config, network, source, ranks, start, teacher, taught), sep="\n", flush=True)
    local_ranks = ranks // config.num_nodes
    estimate = estimate_memory(config, network, ranks, teacher and teacher.network, taught)
    storage = storage_directory(config) if config.device == "cpu" else None
    plan, mapped = make_plan(config, len(source), start), estimate.in_files * local_ranks
    if storage is not None:
        check_disk(estimate, local_ranks, storage)
    warning = check_snapshots(config, plan, start.step, estimate, mapped, storage)
    if warning:
        print(warning, file=sys.stderr)
    if config.device == "cpu":
        warning = check_memory(estimate, local_ranks, free_memory())
        if warning:
            print(warning, file=sys.stderr)
