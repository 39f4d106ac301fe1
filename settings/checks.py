"""Check relations between settings before a rank is started; ``settings.options`` has the range of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from backbones import build_network
from backbones.graph.arrays import batch_norm_arrays
from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError, lookup, require
from settings.choices import ALL_SNAPSHOTS, LOSSES, NO_SNAPSHOTS, TRIPLET_LOSSES
from settings.config import Config
from settings.protocols import read_protocols
from settings.teacher import check_teacher

# Settings that need class centres, with the values that turn them off.
_FOR_CENTRES = {
    "partial_fc": False,
    "fc7_dtype": "float32",
    "head_stats": 0,
    "label_map": "",
    "num_subcenters": 1,
    "interclass_filtering_threshold": 0.0,
    "label_smoothing": 0.0,
    "freeze_backbone_steps": 0,
    "teacher_logits": 0.0,
}
_RESIDUAL = ("fresnet", "iresnet", "ir")
_EASY_MARGINS = ("margin_softmax", "arc_loss", "intra", "inter", "magface", "mv_softmax")


def check_run(config: Config) -> None:
    """Check on which machines a run takes place.

    Raises:
        UserError: two settings contradict each other.
    """
    require(
        config.node_rank < config.num_nodes,
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


def check_verification(config: Config) -> None:
    """Check the settings of the verification.

    Raises:
        UserError: a set is named twice, or a wanted false accept rate is not a rate.
    """
    twice = sorted({name for name in config.val_targets if config.val_targets.count(name) > 1})
    require(not twice, f"--val_targets: {', '.join(twice)} occurs more than once; name each set once")
    require(
        all(0 < far < 1 for far in config.far_targets),
        f"--far_targets {config.far_targets} must be false accept rates above 0 and below 1, such as 0.001,0.01",
    )


def check_train(config: Config) -> None:
    """Check the settings of a training run.

    Raises:
        UserError: two settings contradict each other, or the network cannot be built.
    """
    check_run(config)
    check_verification(config)
    read_protocols(config)
    _check_loss(config)
    _check_schedule(config)
    if config.loss_name in TRIPLET_LOSSES:
        _check_triplets(config)
    _check_freezing(config, build_network(config))
    size, cutoff = config.image_size, config.data_cutoff
    require(
        cutoff == 0 or 2 <= cutoff <= 2 * size,
        f"--data_cutoff {cutoff} must be 0 (off) or 2 to {2 * size} pixels, twice the image's side",
    )
    require(
        config.model_parallel or not config.partial_fc,
        "--partial_fc 1 needs --model_parallel 1: it samples each rank's own class rows",
    )
    require(
        config.partial_fc or config.fc7_storage == "memory",
        f"--fc7_storage {config.fc7_storage} needs --partial_fc 1: with all classes a step needs all rows at a time",
    )
    require(
        not config.use_synthetic_data or config.total_img_num >= 1,
        f"--total_img_num {config.total_img_num} must be at least 1 with --use_synthetic_data",
    )
    _check_row_type(config)
    _check_sources(config)
    check_teacher(config)
    _check_depth(config)


def _check_row_type(config: Config) -> None:
    if config.fc7_dtype == "float32":
        return
    require(
        config.native_ops,
        f"--fc7_dtype {config.fc7_dtype} needs the CPU kernels that --native_ops 0 switches off; give one of them",
    )
    require(
        config.loss_name != "inter",
        f"--fc7_dtype {config.fc7_dtype} reads class rows piece by piece, and --loss {config.loss} compares all of "
        "them with each other; omit it",
    )


def _check_sources(config: Config) -> None:
    sources = [key for key in ("model_load_dir", "pretrained", "resume") if config[key]]
    require(
        len(sources) <= 1 or sources == ["model_load_dir", "resume"],
        f"--{' and --'.join(sources)} contradict each other; give one",
    )
    require(
        config.color_order == "rgb" or bool(config.pretrained),
        f"--color_order {config.color_order} is about the file of --pretrained; snapshots and images are RGB",
    )
    name = config.extra_model_name
    require("/" not in name, f"--extra_model_name {name} is added to a folder's name and must not contain /")
    require(
        not config.label_map or bool(config.model_load_dir or config.pretrained),
        f"--label_map {config.label_map} needs --model_load_dir or --pretrained: the snapshot whose classes it names",
    )
    require(
        not config.partial_load or bool(config.pretrained),
        "--partial_load 1 needs --pretrained: the network whose layers it keeps as far as they fit",
    )


def _check_depth(config: Config) -> None:
    require(
        config.stochastic_depth == 0 or config.net_name in _RESIDUAL,
        f"--stochastic_depth {config.stochastic_depth:g} skips the residual units of r18 to r269, iresnet and ir; "
        f"--network {config.network} is not one of these, omit it",
    )


def _check_freezing(config: Config, network: NetworkGraph) -> None:
    require(
        config.backbone_lr_mult > 0,
        "--backbone_lr_mult 0 would leave the weights and still move the statistics of BatchNorm; use "
        "--freeze_backbone_steps N, with N the length of the training or more",
    )
    require(
        not config.freeze_bn or bool(batch_norm_arrays(network)),
        f"--freeze_bn 1: network {config.network} has no BatchNorm; omit it",
    )
    require(
        not (config.freeze_bn and config.sync_bn),
        "--freeze_bn 1 normalises by statistics that do not change, and --sync_bn 1 by those of the batch of all "
        "ranks; give one",
    )


def _check_loss(config: Config) -> None:
    lookup(dict.fromkeys(LOSSES), config.loss_name, "loss_name")
    require(
        config.loss_name != "sphereface" or (config.loss_m1 >= 1 and config.loss_m1 % 1 == 0),
        f"--loss_m1 {config.loss_m1}: the margin of sphereface is a whole number from 1",
    )
    require(
        not config.easy_margin or config.loss_name in _EASY_MARGINS,
        "--easy_margin 1 is for arcface, arc_loss, cosface, combined, intra, inter, magface, mv_am and mv_arc; --loss "
        f"{config.loss} has no such margin",
    )
    require(
        config.loss_l_a < config.loss_u_a and config.loss_l_margin <= config.loss_u_margin,
        f"--loss_l_a {config.loss_l_a:g} --loss_u_a {config.loss_u_a:g} --loss_l_margin {config.loss_l_margin:g} "
        f"--loss_u_margin {config.loss_u_margin:g}: MagFace's lower bounds are above the upper ones",
    )
    require(
        config.label_smoothing == 0 or config.loss_name != "uniface",
        f"--label_smoothing {config.label_smoothing:g} is for losses that are a softmax; --loss uniface is not one",
    )
    require(
        config.loss_m_min <= config.loss_m_max,
        f"--loss_m_min {config.loss_m_min:g} is above --loss_m_max {config.loss_m_max:g}",
    )
    require(
        config.loss_name != "elasticface" or bool(config.loss_m2) != bool(config.loss_m3),
        f"--loss_m2 {config.loss_m2:g} --loss_m3 {config.loss_m3:g}: ElasticFace varies one margin; set the other to 0",
    )
    require(
        config.interclass_filtering_threshold == 0 or config.loss_name != "softmax",
        f"--interclass_filtering_threshold {config.interclass_filtering_threshold} is a cosine; --loss softmax has "
        "none",
    )
    require(
        config.num_subcenters == 1 or config.loss_name != "softmax",
        f"--num_subcenters {config.num_subcenters} needs a loss on cosines; --loss softmax is not one",
    )
    require(
        config.num_subcenters == 1 or config.loss_name != "inter",
        f"--num_subcenters {config.num_subcenters}: the inter-loss is between classes with one centre each",
    )


def _check_schedule(config: Config) -> None:
    require(
        config.train_iter > 0 or bool(config.max_steps or config.end_epoch),
        f"--train_iter {config.train_iter} must be at least 1, or 0 where --max_steps or --end_epoch is the end",
    )
    require(
        len(config.adam_betas) == 2 and all(0 <= beta < 1 for beta in config.adam_betas),
        f"--adam_betas {config.adam_betas} must be two numbers in [0, 1)",
    )
    require(
        0 <= config.fp16_scale < math.inf and math.frexp(config.fp16_scale)[0] in (0.0, 0.5),
        f"--fp16_scale {config.fp16_scale:g} must be 0 (none) or a power of 2, such as 1024: these divide out exactly",
    )
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


def _check_triplets(config: Config) -> None:
    for key, without in _FOR_CENTRES.items():
        require(
            config[key] == without,
            f"--{key} {config[key]} is about class centres, and --loss {config.loss} has none; omit it",
        )
    require(
        config.sampler == "instance",
        f"--sampler {config.sampler} orders single images, and --loss {config.loss} chooses triplets; omit it",
    )


def check_triplet_batch(config: Mapping[str, Any], ranks: int) -> None:
    """Check that each rank's part of the batch, and each piece of it, consists of complete triplets.

    Raises:
        UserError: the number of images is not a multiple of 3.
    """
    size, pieces = config["train_batch_size"] // ranks, config["gradient_accumulation"]
    if config["loss_name"] in TRIPLET_LOSSES and size // pieces % 3:
        raise UserError(
            f"--train_batch_size {config['train_batch_size']} over {ranks} rank(s) is {size} images for each"
            + (f", {size // pieces} for each of --gradient_accumulation {pieces}" if pieces > 1 else "")
            + f": --loss {config['loss']} needs a multiple of 3, anchors, positives and negatives"
        )


def check_people_batch(config: Mapping[str, Any]) -> None:
    """Check that a batch of ``sampler`` pk consists of complete groups of a person's images.

    Raises:
        UserError: it does not.
    """
    batch, count = config["train_batch_size"], config["images_per_identity"]
    if config["sampler"] == "pk" and batch % count:
        raise UserError(
            f"--sampler pk: --train_batch_size {batch} is not a multiple of --images_per_identity {count}; a batch is "
            "people times images of each"
        )


def resolve_snapshots(config: Config, given: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """Return the settings with ``ckpt`` applied to those of snapshots, and notices to print, one per line.

    ``iter_num_in_snapshot`` and ``save_last_snapshot`` apply only to ckpt 2. ``given`` are the keys given as flags.

    Raises:
        UserError: ``ckpt`` contradicts a given key.
    """
    ckpt = config.ckpt
    if ckpt == ALL_SNAPSHOTS:
        return config, []
    every = given.get("iter_num_in_snapshot")
    require(not every, f"--ckpt {ckpt} and --iter_num_in_snapshot {every} contradict each other; --ckpt 2 keeps all")
    config = config.replaced(iter_num_in_snapshot=0, save_last_snapshot=given.get("save_last_snapshot", False))
    require(
        not (ckpt == NO_SNAPSHOTS and config.save_last_snapshot),
        "--ckpt 0 and --save_last_snapshot 1 contradict each other; give one",
    )
    verifies = config.do_validation_while_train and config.val_targets and not config.use_synthetic_data
    if ckpt == NO_SNAPSHOTS or verifies:
        return config, []
    notice = f"--ckpt {ckpt} keeps snapshots of verifications, and there are none in this run; --ckpt 2 keeps all"
    return config, [notice]
