"""Settings of a run, resolved once: sample_config.py or config.py, loss, network, dataset, then the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easydict import EasyDict

from backbones import build_network
from common.errors import lookup
from common.errors import require as _require
from engine.checkpoints import settle_checkpoints
from settings.augment_settings import check_augmentation
from settings.checks import check_optimizer
from settings.config_file import ROOT, load_tables, read_settings
from settings.legacy.command import OldCommand, pick_values
from settings.legacy.flags import MXNET, PORT, SOFTMAX, OldFlag
from settings.options import NAMES, TRAIN_TABLE, Option
from settings.parser import Parser, add_old_flags, add_options, add_set_options, find_translated
from settings.triplet_settings import TRIPLET_LOSSES, check_triplets

LOSSES = (
    "softmax",
    "margin_softmax",
    "arc_loss",
    "sphereface",
    "curricularface",
    "adaface",
    "intra",
    "inter",
    *TRIPLET_LOSSES,
)


def read_names(argv: Sequence[str], options: Sequence[Option], defaults: dict[str, Any]) -> dict[str, Any]:
    """Read the few flags that decide the defaults of all others; what is not given comes from ``defaults``."""
    given = _read_some(argv, options, defaults, [])
    return {option.key: given.get(option.key, defaults[option.key]) for option in options}


def _read_some(
    argv: Sequence[str], options: Sequence[Option], defaults: dict[str, Any], rows: Sequence[OldFlag]
) -> dict[str, Any]:
    """Return what is given of ``options``, and of ``rows`` of older trainers under their destinations."""
    parser = Parser(add_help=False, allow_abbrev=False)
    add_options(parser, options, defaults)
    add_old_flags(parser, rows)
    return vars(parser.parse_known_args(argv)[0])


def read_flags(
    argv: Sequence[str], options: Sequence[Option], config: EasyDict, about: str, rows: Sequence[OldFlag] = ()
) -> dict[str, Any]:
    """Put the command line over ``config``; every set of ``val_targets`` has a flag of its own.

    Returns what was given, ``rows`` of older trainers under their destinations.
    """
    targets = read_names(argv, [option for option in options if option.key == "val_targets"], config)["val_targets"]
    parser = Parser(description=about, allow_abbrev=False)
    add_options(parser, options, config)
    add_set_options(parser, targets)
    add_old_flags(parser, rows)
    given = vars(parser.parse_args(argv))
    apart = {row.destination for row in rows}
    config.update({key: value for key, value in given.items() if key not in apart})
    for option in options:  # a value from config.py has not been through the parser
        if option.choices is not None:
            lookup(dict.fromkeys(option.choices), config[option.key], option.key)
    return given


@dataclass(frozen=True)
class TrainCommand:
    """A command line that has been read.

    Attributes:
        config: the checked settings.
        notices: what there is to say about flags of older programs and keys of older files, a line each.
        given: the keys that were given as flags.
    """

    config: EasyDict
    notices: tuple[str, ...]
    given: frozenset[str]


def read_train_command(argv: Sequence[str], folder: Path = ROOT) -> TrainCommand:
    """Return the checked settings of a training run, and what there is to say about its flags.

    Raises:
        UserError: an unknown name, key or flag, or values that contradict each other.
    """
    tables = load_tables(folder)
    defaults = tables.default
    rows = find_translated(TRAIN_TABLE, (MXNET, SOFTMAX, PORT))
    first = _read_some(argv, NAMES, defaults, rows)
    named = {option.key: first[option.key] for option in NAMES if option.key in first}
    old = OldCommand(pick_values(first))
    names = old.choose_names({option.key: defaults[option.key] for option in NAMES}, named)
    file = read_settings(tables, **names)
    config = file.config
    old.set_defaults(config)
    if "dataset" in named and old.is_train_softmax:
        entry = tables.dataset[names["dataset"]]
        config.update({key: value for key, value in entry.items() if key in config})
    given = read_flags(argv, TRAIN_TABLE, config, "Train a face recognition network.", rows)
    config.update(names)
    old.translate(config, given, file.later)
    notices = [*file.notices, *old.notices, *settle_checkpoints(config, given)]
    _check_train(config)
    return TrainCommand(config, tuple(notices), frozenset(given))


def resolve_train_config(argv: Sequence[str], folder: Path = ROOT) -> EasyDict:
    """Return the settings of ``read_train_command`` alone."""
    return read_train_command(argv, folder).config


def check_run(config: EasyDict) -> None:
    """Check where a run takes place, and how it verifies.

    Raises:
        UserError: a value is impossible, or contradicts another.
    """
    for key in ("device_num_per_node", "master_port", "val_batch_size", "val_data_part_num"):
        _require(config[key] >= 0, f"--{key} {config[key]} is negative; 0 lets the program choose")
    for key in ("num_nodes", "rank_timeout", "val_batch_size_per_device"):
        _require(config[key] > 0, f"--{key} {config[key]} must be at least 1")
    _require(
        0 <= config.node_rank < config.num_nodes,
        f"--node_rank {config.node_rank} is outside 0..{config.num_nodes - 1} (--num_nodes {config.num_nodes})",
    )
    _require(
        config.num_nodes <= len(config.node_ips),
        f"--num_nodes {config.num_nodes} needs as many --node_ips, {len(config.node_ips)} given",
    )
    _require(
        config.num_nodes == 1 or config.master_port > 0,
        "--master_port is needed with several nodes: one free port of the first machine, the same on all",
    )
    _require(config.nrof_folds >= 2, f"--nrof_folds {config.nrof_folds} must be at least 2")


def _check_loss(config: EasyDict) -> None:
    lookup(dict.fromkeys(LOSSES), config.loss_name, "loss_name")
    _require(config.loss_s > 0, f"--loss_s {config.loss_s} must be positive")
    for key in ("loss_h", "loss_b", "loss_lambda_base", "loss_lambda_gamma", "loss_lambda_power", "loss_lambda_min"):
        _require(config[key] >= 0, f"--{key} {config[key]} must not be negative")
    _require(0 < config.loss_t_alpha <= 1, f"--loss_t_alpha {config.loss_t_alpha} must be above 0 and at most 1")
    _require(
        config.loss_name != "sphereface" or (config.loss_m1 >= 1 and config.loss_m1 % 1 == 0),
        f"--loss_m1 {config.loss_m1}: the margin of sphereface is a whole number from 1",
    )
    _require(
        not config.easy_margin or config.loss_name in ("margin_softmax", "arc_loss", "intra", "inter"),
        f"--easy_margin 1 is for arcface, arc_loss, cosface, combined, intra and inter; --loss {config.loss} has no "
        "such margin",
    )
    threshold = config.interclass_filtering_threshold
    _require(0 <= threshold < 1, f"--interclass_filtering_threshold {threshold} must be at least 0 and below 1")
    _require(
        threshold == 0 or config.loss_name != "softmax",
        f"--interclass_filtering_threshold {threshold} is a cosine; --loss softmax has none",
    )
    _require(config.num_subcenters > 0, f"--num_subcenters {config.num_subcenters} must be at least 1")
    _require(
        config.num_subcenters == 1 or config.loss_name != "softmax",
        f"--num_subcenters {config.num_subcenters} needs a loss on cosines; --loss softmax is none",
    )
    _require(
        config.num_subcenters == 1 or config.loss_name != "inter",
        f"--num_subcenters {config.num_subcenters}: the inter-loss is between classes with one centre each",
    )


def _check_train(config: EasyDict) -> None:
    check_run(config)
    _check_loss(config)
    check_optimizer(config)
    check_triplets(config)
    check_augmentation(config)
    build_network(config)
    for key in ("num_classes", "train_batch_size_per_device", "loss_print_frequency"):
        _require(config[key] > 0, f"--{key} {config[key]} must be at least 1")
    for key in ("train_batch_size", "num_workers", "iter_num_in_snapshot", "seed", "train_data_part_num"):
        _require(config[key] >= 0, f"--{key} {config[key]} must not be negative")
    _require(0 <= config.bn_mom < 1, f"--bn_mom {config.bn_mom} must be in [0, 1)")
    _require(
        config.model_parallel or not config.partial_fc,
        "--partial_fc 1 needs --model_parallel 1: it samples each rank's own class rows",
    )
    _require(
        config.partial_fc or config.fc7_storage == "memory",
        f"--fc7_storage {config.fc7_storage} needs --partial_fc 1: with all classes a step needs all rows at a time",
    )
    _require(0 < config.sample_ratio <= 1, f"--sample_ratio {config.sample_ratio} must be above 0 and at most 1")
    _require(config.head_stats >= 0, f"--head_stats {config.head_stats} must be 0 (none) or more")
    _require(config.validation_interval > 0, f"--validation_interval {config.validation_interval} must be at least 1")
    sources = [key for key in ("model_load_dir", "pretrained", "resume") if config[key]]
    _require(
        len(sources) <= 1 or sources == ["model_load_dir", "resume"],
        f"--{' and --'.join(sources)} contradict each other; give one",
    )
    name = config.extra_model_name
    _require("/" not in name, f"--extra_model_name {name} is added to a folder's name and holds no /")
    _require(
        not config.label_map or bool(config.model_load_dir or config.pretrained),
        f"--label_map {config.label_map} needs --model_load_dir or --pretrained: the snapshot whose classes it names",
    )
    _require(
        not (config.use_synthetic_data and config.total_img_num < 1),
        f"--total_img_num {config.total_img_num} must be at least 1 with --use_synthetic_data",
    )
