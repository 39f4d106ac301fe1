"""Settings of a run, resolved once: sample_config.py or config.py, loss, network, dataset, then the command line."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from easydict import EasyDict

import sample_config
from backbones import build_graph
from common.errors import UserError, lookup
from common.errors import require as _require
from engine.augment_settings import check_augmentation
from engine.models import FORMATS, describe_model
from engine.optimizer_settings import check_optimizer
from engine.options import (
    NAMES,
    OUTPUT,
    RUN,
    RUN_OPTIONS,
    SHARED_OPTIONS,
    TRAIN_TABLE,
    Option,
    add_options,
    add_set_options,
)

ROOT = Path(__file__).resolve().parent.parent
TABLES = ("config", "default", "network", "dataset", "loss")
LOSSES = ("softmax", "margin_softmax", "sphereface", "curricularface", "adaface")
_ACCEPTED = {bool: (bool, int), float: (float, int), list: (list, tuple)}  # in config.py, beyond the same type


def load_tables(folder: Path = ROOT) -> ModuleType:
    """Return the module that holds the tables: ``config.py`` in ``folder`` when present, else sample_config.

    Raises:
        UserError: config.py cannot be read, lacks a table or has a key that nobody knows.
    """
    path = folder / "config.py"
    if not path.is_file():
        return sample_config
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path}: {type(error).__name__}: {error}; compare it with sample_config.py") from error
    missing = [name for name in (*TABLES, "generate_config") if not hasattr(module, name)]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; copy sample_config.py and edit the copy")
    _check_keys(module, path)
    return module


def _check_keys(module: ModuleType, path: Path) -> None:
    known = known_values()
    for table in ("config", "default"):
        _check_entry(getattr(module, table), known, f"{path}: {table}")
    for table in ("network", "dataset", "loss"):
        for name, entry in getattr(module, table).items():
            _check_entry(entry, known, f"{path}: {table}.{name}")


def known_values() -> dict[str, Any]:
    """Return every key that sample_config.py uses anywhere, with a value it has there."""
    values = {}
    for table in (sample_config.network, sample_config.dataset, sample_config.loss):
        for entry in table.values():
            values |= entry
    return {**values, **sample_config.default, **sample_config.config}


def _check_entry(entry: dict[str, Any], known: dict[str, Any], where: str) -> None:
    for key, value in entry.items():
        if key not in known:
            raise UserError(f"{where} has the unknown key '{key}'; known: {', '.join(sorted(known))}")
        kind = type(known[key])
        if not isinstance(value, _ACCEPTED.get(kind, kind)):
            raise UserError(f"{where}: {key} = {value!r} is no {kind.__name__}; sample_config.py has {known[key]!r}")


def merge(tables: ModuleType, network: str, dataset: str, loss: str) -> EasyDict:
    """Return the settings of the three names; keys that an older config.py lacks come from sample_config.

    Raises:
        UserError: a name is unknown; the message lists the known ones.
    """
    for kind, name in (("network", network), ("dataset", dataset), ("loss", loss)):
        lookup(getattr(tables, kind), name, kind)
    fallback = {**sample_config.default, **sample_config.config}
    return EasyDict({**fallback, **tables.generate_config(network, dataset, loss)})


class _Parser(argparse.ArgumentParser):
    """argparse that reports mistakes as UserError: one line, exit code 1."""

    def error(self, message: str) -> None:
        raise UserError(f"{message}; --help lists the flags")


def _read_names(argv: Sequence[str], options: Sequence[Option], defaults: dict[str, Any]) -> dict[str, Any]:
    """Read the few flags that decide the defaults of all others; what is not given comes from ``defaults``."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    add_options(parser, options, defaults)
    given, _ = parser.parse_known_args(argv)
    return {option.key: getattr(given, option.key, defaults[option.key]) for option in options}


def _read_flags(argv: Sequence[str], options: Sequence[Option], config: EasyDict, about: str) -> EasyDict:
    """Put the command line over ``config``; every set of ``val_targets`` has a flag of its own."""
    targets = _read_names(argv, [option for option in options if option.key == "val_targets"], config)["val_targets"]
    parser = _Parser(description=about, allow_abbrev=False)
    add_options(parser, options, config)
    add_set_options(parser, targets)
    given = vars(parser.parse_args(argv))
    config.update(given)
    for option in options:  # a value from config.py has not been through the parser
        if option.choices is not None:
            lookup(dict.fromkeys(option.choices), config[option.key], option.key)
    return config


def resolve_train_config(argv: Sequence[str], folder: Path = ROOT) -> EasyDict:
    """Return the checked settings of a training run.

    Raises:
        UserError: an unknown name, key or flag, or values that contradict each other.
    """
    tables = load_tables(folder)
    names = _read_names(argv, NAMES, {**sample_config.default, **tables.default})
    config = merge(tables, **names)
    config = _read_flags(argv, TRAIN_TABLE, config, "Train a face recognition network.")
    _check_train(config)
    return config


VAL_TABLE = (
    Option("network", str, RUN, "the network that the model must be of"),
    Option("dataset", str, RUN, "the dataset whose verification sets are used"),
    *RUN_OPTIONS,
    *SHARED_OPTIONS,
    Option("report", str, OUTPUT, "folder for report.json and the ROC picture"),
)
_OF_THE_RUN = [option.key for option in (*RUN_OPTIONS, *SHARED_OPTIONS) if not option.key.startswith("val_")]


def resolve_val_config(argv: Sequence[str], folder: Path = ROOT) -> EasyDict:
    """Return the checked settings of a verification run: the model's, the dataset's sets, then the command line.

    Raises:
        UserError: no model, an unknown name, key or flag, or values that contradict each other.
    """
    tables = load_tables(folder)
    defaults = {**sample_config.default, **sample_config.config, **tables.default, **tables.config, "report": ""}
    first = [option for option in VAL_TABLE if option.key in ("model_load_dir", "network", "dataset")]
    if "--help" in argv or "-h" in argv:
        return _read_flags(argv, VAL_TABLE, EasyDict(defaults), "Verify a trained network on pairs of faces.")
    names = _read_names(argv, first, {**defaults, "network": "", "dataset": ""})
    _require(bool(names["model_load_dir"]), f"--model_load_dir is missing: name what to verify, {FORMATS}")
    trained = describe_model(names["model_load_dir"])
    config = EasyDict({**defaults, **trained, **{key: defaults[key] for key in [*_OF_THE_RUN, "report"]}})
    if names["dataset"]:
        sets = merge(tables, tables.default.network, names["dataset"], tables.default.loss)
        config.update({key: sets[key] for key in ("val_targets", "val_dataset_dir")})
    config = _read_flags(argv, VAL_TABLE, config, "Verify a trained network on pairs of faces.")
    _require(
        config.network == trained["network"],
        f"--network {config.network}: {config.model_load_dir} is of network {trained['network']}",
    )
    _check_run(config)
    return config


def _check_run(config: EasyDict) -> None:
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
    for key in ("loss_h", "loss_lambda_base", "loss_lambda_gamma", "loss_lambda_power", "loss_lambda_min"):
        _require(config[key] >= 0, f"--{key} {config[key]} must not be negative")
    _require(0 < config.loss_t_alpha <= 1, f"--loss_t_alpha {config.loss_t_alpha} must be above 0 and at most 1")
    _require(
        config.loss_name != "sphereface" or (config.loss_m1 >= 1 and config.loss_m1 % 1 == 0),
        f"--loss_m1 {config.loss_m1}: the margin of sphereface is a whole number from 1",
    )
    _require(
        not config.easy_margin or config.loss_name == "margin_softmax",
        f"--easy_margin 1 is for arcface, cosface and combined; --loss {config.loss} has no such margin",
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


def _check_train(config: EasyDict) -> None:
    _check_run(config)
    _check_loss(config)
    check_optimizer(config)
    check_augmentation(config)
    build_graph(config)
    for key in ("num_classes", "train_iter", "train_batch_size_per_device", "loss_print_frequency"):
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
    _require(
        not config.label_map or bool(config.model_load_dir or config.pretrained),
        f"--label_map {config.label_map} needs --model_load_dir or --pretrained: the snapshot whose classes it names",
    )
    _require(
        not (config.use_synthetic_data and config.total_img_num < 1),
        f"--total_img_num {config.total_img_num} must be at least 1 with --use_synthetic_data",
    )
