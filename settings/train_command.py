"""Settings of a run, resolved once: sample_config.py or config.py, loss, network, dataset, then the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easydict import EasyDict

from common.errors import lookup
from settings.checks import check_train, settle_checkpoints
from settings.config import Config
from settings.config_file import ROOT, load_tables, read_settings
from settings.legacy.command import OldCommand, pick_values
from settings.legacy.flags import MXNET, PORT, SOFTMAX, OldFlag
from settings.options import NAMES, TRAIN_TABLE, Option
from settings.parser import Parser, add_old_flags, add_options, add_set_options, find_translated


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

    config: Config
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
    check_train(config)
    return TrainCommand(Config(config), tuple(notices), frozenset(given))


def resolve_train_config(argv: Sequence[str], folder: Path = ROOT) -> Config:
    """Return the settings of ``read_train_command`` alone."""
    return read_train_command(argv, folder).config
