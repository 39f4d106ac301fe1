"""What settings must have in common: relations between two of them, checked before a rank is started."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from easydict import EasyDict

from backbones import build_network
from common.errors import UserError, lookup, require
from settings.choices import ALL_SNAPSHOTS, LOSSES, NO_SNAPSHOTS, TRIPLET_LOSSES

# What a loss without class centres cannot have: key and the value that leaves it away.
_FOR_CENTRES = {
    "partial_fc": False,
    "head_stats": 0,
    "label_map": "",
    "num_subcenters": 1,
    "interclass_filtering_threshold": 0.0,
}
_SHARES = ("crop_augmentation_prob", "low_res_augmentation_prob", "photometric_augmentation_prob")


def check_run(config: EasyDict) -> None:
    """Check where a run takes place, and how it verifies.

    Raises:
        UserError: a value is impossible, or contradicts another.
    """
    for key in ("device_num_per_node", "master_port", "val_batch_size", "val_data_part_num"):
        require(config[key] >= 0, f"--{key} {config[key]} is negative; 0 lets the program choose")
    for key in ("num_nodes", "rank_timeout", "val_batch_size_per_device"):
        require(config[key] > 0, f"--{key} {config[key]} must be at least 1")
    require(
        0 <= config.node_rank < config.num_nodes,
        f"--node_rank {config.node_rank} is outside 0..{config.num_nodes - 1} (--num_nodes {config.num_nodes})",
    )
    require(
        config.num_nodes <= len(config.node_ips),
        f"--num_nodes {config.num_nodes} needs as many --node_ips, {len(config.node_ips)} given",
    )
    require(
        config.num_nodes == 1 or config.master_port > 0,
        "--master_port is needed with several nodes: one free port of the first machine, the same on all",
    )
    require(config.nrof_folds >= 2, f"--nrof_folds {config.nrof_folds} must be at least 2")


def _check_loss(config: EasyDict) -> None:
    lookup(dict.fromkeys(LOSSES), config.loss_name, "loss_name")
    require(config.loss_s > 0, f"--loss_s {config.loss_s} must be positive")
    for key in ("loss_h", "loss_b", "loss_lambda_base", "loss_lambda_gamma", "loss_lambda_power", "loss_lambda_min"):
        require(config[key] >= 0, f"--{key} {config[key]} must not be negative")
    require(0 < config.loss_t_alpha <= 1, f"--loss_t_alpha {config.loss_t_alpha} must be above 0 and at most 1")
    require(
        config.loss_name != "sphereface" or (config.loss_m1 >= 1 and config.loss_m1 % 1 == 0),
        f"--loss_m1 {config.loss_m1}: the margin of sphereface is a whole number from 1",
    )
    require(
        not config.easy_margin or config.loss_name in ("margin_softmax", "arc_loss", "intra", "inter"),
        f"--easy_margin 1 is for arcface, arc_loss, cosface, combined, intra and inter; --loss {config.loss} has no "
        "such margin",
    )
    threshold = config.interclass_filtering_threshold
    require(0 <= threshold < 1, f"--interclass_filtering_threshold {threshold} must be at least 0 and below 1")
    require(
        threshold == 0 or config.loss_name != "softmax",
        f"--interclass_filtering_threshold {threshold} is a cosine; --loss softmax has none",
    )
    require(config.num_subcenters > 0, f"--num_subcenters {config.num_subcenters} must be at least 1")
    require(
        config.num_subcenters == 1 or config.loss_name != "softmax",
        f"--num_subcenters {config.num_subcenters} needs a loss on cosines; --loss softmax is none",
    )
    require(
        config.num_subcenters == 1 or config.loss_name != "inter",
        f"--num_subcenters {config.num_subcenters}: the inter-loss is between classes with one centre each",
    )


def check_train(config: EasyDict) -> None:
    """Check the settings of a training run.

    Raises:
        UserError: a value is impossible, or contradicts another.
    """
    check_run(config)
    _check_loss(config)
    check_optimizer(config)
    check_triplets(config)
    check_augmentation(config)
    build_network(config)
    for key in ("num_classes", "train_batch_size_per_device", "loss_print_frequency"):
        require(config[key] > 0, f"--{key} {config[key]} must be at least 1")
    for key in ("train_batch_size", "num_workers", "iter_num_in_snapshot", "seed", "train_data_part_num"):
        require(config[key] >= 0, f"--{key} {config[key]} must not be negative")
    require(0 <= config.bn_mom < 1, f"--bn_mom {config.bn_mom} must be in [0, 1)")
    require(
        config.model_parallel or not config.partial_fc,
        "--partial_fc 1 needs --model_parallel 1: it samples each rank's own class rows",
    )
    require(
        config.partial_fc or config.fc7_storage == "memory",
        f"--fc7_storage {config.fc7_storage} needs --partial_fc 1: with all classes a step needs all rows at a time",
    )
    require(0 < config.sample_ratio <= 1, f"--sample_ratio {config.sample_ratio} must be above 0 and at most 1")
    require(config.head_stats >= 0, f"--head_stats {config.head_stats} must be 0 (none) or more")
    require(config.validation_interval > 0, f"--validation_interval {config.validation_interval} must be at least 1")
    sources = [key for key in ("model_load_dir", "pretrained", "resume") if config[key]]
    require(
        len(sources) <= 1 or sources == ["model_load_dir", "resume"],
        f"--{' and --'.join(sources)} contradict each other; give one",
    )
    name = config.extra_model_name
    require("/" not in name, f"--extra_model_name {name} is added to a folder's name and holds no /")
    require(
        not config.label_map or bool(config.model_load_dir or config.pretrained),
        f"--label_map {config.label_map} needs --model_load_dir or --pretrained: the snapshot whose classes it names",
    )
    require(
        not (config.use_synthetic_data and config.total_img_num < 1),
        f"--total_img_num {config.total_img_num} must be at least 1 with --use_synthetic_data",
    )


def check_optimizer(config: EasyDict) -> None:
    """Check what has to do with optimiser and schedule.

    Raises:
        UserError: a value is outside of what it may be, or two contradict each other.
    """
    for key in ("lr", "weight_decay", "fc7_lr_mult", "fc7_wd_mult", "clip_gradient", "warmup_steps", "warmup_epochs"):
        require(config[key] >= 0, f"--{key} {config[key]} must not be negative")
    for key in ("adam_eps", "lr_power"):
        require(config[key] > 0, f"--{key} {config[key]} must be positive")
    for key in ("max_steps", "end_epoch", "lr_steps_batch", "loss_lambda_freeze"):
        require(config[key] >= 0, f"--{key} {config[key]} must not be negative")
    for key in ("nccl_fusion_threshold_mb", "nccl_fusion_max_ops"):
        require(config[key] >= 0, f"--{key} {config[key]} must not be negative; 0 leaves it to OneFlow")
    ends = config.max_steps or config.end_epoch
    require(
        config.train_iter > (-1 if ends else 0),
        f"--train_iter {config.train_iter} must be at least 1, or 0 where --max_steps or --end_epoch is the end",
    )
    pieces = config.gradient_accumulation
    require(pieces > 0, f"--gradient_accumulation {pieces} must be at least 1")
    require(0 <= config.momentum < 1, f"--momentum {config.momentum} must be in [0, 1)")
    require(
        len(config.adam_betas) == 2 and all(0 <= beta < 1 for beta in config.adam_betas),
        f"--adam_betas {config.adam_betas} must be two numbers in [0, 1)",
    )
    require(
        0 <= config.fp16_scale < math.inf and math.frexp(config.fp16_scale)[0] in (0.0, 0.5),
        f"--fp16_scale {config.fp16_scale:g} must be 0 (none) or a power of 2, such as 1024: these divide out exactly",
    )
    require(config.fp16_scale_window >= 0, f"--fp16_scale_window {config.fp16_scale_window} must not be negative")
    require(
        not (config.warmup_steps and config.warmup_epochs),
        f"--warmup_steps {config.warmup_steps} and --warmup_epochs {config.warmup_epochs} are two lengths; give one",
    )
    require(
        len(config.lr_steps) == len(config.scales),
        f"--lr_steps has {len(config.lr_steps)} entries and --scales {len(config.scales)}; one scale for each step",
    )
    require(
        all(a < b for a, b in zip(config.lr_steps, config.lr_steps[1:], strict=False)),
        f"--lr_steps {config.lr_steps} must grow",
    )


def check_triplets(config: EasyDict) -> None:
    """Check the settings of bags and triplets.

    Raises:
        UserError: a value is outside of what it may be, or is for a loss with class centres.
    """
    require(config.images_per_identity >= 2, f"--images_per_identity {config.images_per_identity} must be at least 2")
    require(config.triplet_bag_size >= 1, f"--triplet_bag_size {config.triplet_bag_size} must be at least 1")
    require(config.triplet_max_ap >= 0, f"--triplet_max_ap {config.triplet_max_ap} must not be negative; 0: any")
    require(0 < config.triplet_alpha <= 1, f"--triplet_alpha {config.triplet_alpha} must be above 0 and at most 1")
    if config.loss_name in TRIPLET_LOSSES:
        for key, without in _FOR_CENTRES.items():
            require(
                config[key] == without,
                f"--{key} {config[key]} is about class centres, and --loss {config.loss} has none; omit it",
            )


def check_triplet_batch(config: Mapping[str, Any], ranks: int) -> None:
    """Check that each rank's part of the batch, and each piece of it, is whole triplets.

    Raises:
        UserError: it is not.
    """
    size, pieces = config["train_batch_size"] // ranks, config["gradient_accumulation"]
    if config["loss_name"] in TRIPLET_LOSSES and size // pieces % 3:
        raise UserError(
            f"--train_batch_size {config['train_batch_size']} over {ranks} rank(s) is {size} images for each"
            + (f", {size // pieces} for each of --gradient_accumulation {pieces}" if pieces > 1 else "")
            + f": --loss {config['loss']} needs a multiple of 3, anchors, positives and negatives"
        )


def check_augmentation(config: Mapping[str, Any]) -> None:
    """Check the settings of the augmentation and of the choice of identities.

    Raises:
        UserError: one is out of range.
    """
    require(config["data_shift"] >= 0, f"--data_shift {config['data_shift']} must not be negative")
    require(0 <= config["data_rotation"] <= 180, f"--data_rotation {config['data_rotation']} must be 0 to 180 degrees")
    for key in ("data_zoom", "data_stretch", "data_contrast", "data_brightness"):
        require(0 <= config[key] < 1, f"--{key} {config[key]} must be in [0, 1)")
    require(
        config["data_color"] in (0, 1, 2),
        f"--data_color {config['data_color']} must be 0 (off), 1 (colours) or 2 (colours and JPEG compression)",
    )
    size = config["image_size"]
    require(
        config["data_cutoff"] == 0 or 2 <= config["data_cutoff"] <= 2 * size,
        f"--data_cutoff {config['data_cutoff']} must be 0 (off) or 2 to {2 * size} pixels, twice the image's side",
    )
    require(
        config["data_images_filter"] >= 0, f"--data_images_filter {config['data_images_filter']} must not be negative"
    )
    for key in _SHARES:
        require(0 <= config[key] <= 1, f"--{key} {config[key]} is a share of the images and must be in [0, 1]")


def settle_checkpoints(config: dict[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Make the other settings of snapshots fit ``ckpt``; return what there is to say about it, a line each.

    ``iter_num_in_snapshot`` and ``save_last_snapshot`` are for ckpt 2. ``given`` are the keys that were given as flags.

    Raises:
        UserError: ckpt is unknown, or was given together with what contradicts it.
    """
    ckpt = config["ckpt"]
    known = "0 (no snapshots), 1 (when better), 2 (all), 3 (the best)"
    require(ckpt in range(4), f"--ckpt {ckpt} is unknown; known: {known}")
    if ckpt == ALL_SNAPSHOTS:
        return []
    every = given.get("iter_num_in_snapshot")
    require(not every, f"--ckpt {ckpt} and --iter_num_in_snapshot {every} contradict each other; --ckpt 2 keeps all")
    config["iter_num_in_snapshot"] = 0
    config["save_last_snapshot"] = given.get("save_last_snapshot", False)
    require(
        not (ckpt == NO_SNAPSHOTS and config["save_last_snapshot"]),
        "--ckpt 0 and --save_last_snapshot 1 contradict each other; give one",
    )
    verifies = config["do_validation_while_train"] and config["val_targets"] and not config["use_synthetic_data"]
    if ckpt == NO_SNAPSHOTS or verifies:
        return []
    return [f"--ckpt {ckpt} keeps snapshots of verifications, and there are none in this run; --ckpt 2 keeps all"]
