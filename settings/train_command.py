"""Settings of a training, resolved once: sample_config.py or config.py, loss, network, dataset, then the flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from settings.checks import check_train, resolve_snapshots
from settings.complete import apply_flags
from settings.config import Config
from settings.config_file import ROOT, format_config_file, load_tables
from settings.help import HELP, SETTINGS, VERSIONS, end_with, format_help, format_versions, take_actions
from settings.legacy.arcface_torch import take_config, with_config
from settings.legacy.command import rewrite_training
from settings.option import check_values
from settings.option_groups.running import NAMES
from settings.options import TRAIN_TABLE
from settings.own_set import describe_images, has_own_set, without_images
from settings.parser import describes_dataset, peek, read_flags, set_options
from settings.verification_places import describe_others

ACTIONS = (HELP, SETTINGS, VERSIONS)
_ABOUT = "Train a face recognition network."
_FIRST = tuple(option for option in TRAIN_TABLE if option in NAMES or option.key == "val_targets")


@dataclass(frozen=True)
class TrainCommand:
    """A command line that has been read.

    Attributes:
        config: the checked settings.
        notices: lines to print about flags of older programs and keys of older files.
        given: the keys that were given as flags.
        translation: the command line in the flags of this program if it had older ones, else empty.
    """

    config: Config
    notices: tuple[str, ...]
    given: frozenset[str]
    translation: str = ""


def read_train_command(argv: Sequence[str], folder: Path = ROOT) -> TrainCommand:
    """Return the checked settings of a training run, and notices about its flags.

    If the command line asks for help, settings or versions, print them and exit.

    Raises:
        UserError: an unknown name, key or flag, or values that are impossible or contradict each other; the message has
            a line for each mistake.
    """
    actions, words = take_actions(take_config(argv), ACTIONS)
    if VERSIONS in actions:
        end_with(format_versions())
    tables = load_tables(folder)
    if HELP in actions:
        values = tables.read(**{option.key: tables.default[option.key] for option in NAMES}).values
        end_with(format_help(_ABOUT, [*TRAIN_TABLE, *set_options(values["val_targets"])], values, ACTIONS))
    words, config_notices = with_config(words)
    # Mistakes in flags are reported before the images are looked at.
    rewritten = rewrite_training(words, without_images(words, tables), TRAIN_TABLE)
    own = describe_images(rewritten.words, has_own_set(words, tables), tables)
    tables = own.tables
    rewritten = rewrite_training(words, tables, TRAIN_TABLE)
    words = rewritten.words
    first = peek(words, _FIRST)
    names = {option.key: first.get(option.key, tables.default[option.key]) for option in NAMES}
    if describes_dataset(words):
        tables = tables.with_dataset(names["dataset"])
    values = tables.read(**names).values
    given = read_flags(words, [*TRAIN_TABLE, *set_options(first.get("val_targets", values["val_targets"]))])
    config = Config({**apply_flags(values, given), **names})
    check_values(TRAIN_TABLE, config)
    config, notices = resolve_snapshots(config, given)
    check_train(config)
    if SETTINGS in actions:
        end_with(format_config_file(config, tables))
    if config.do_validation_while_train and "val_targets" not in given and not own.notices:
        notices += describe_others(config.val_dataset_dir, config.val_targets)
    if config.val_protocols and (config.use_synthetic_data or not config.do_validation_while_train):
        notices.append("--val_protocols has no effect: this run does not verify")
    translation = str(rewritten) if rewritten.is_older or config_notices else ""
    said = (*config_notices, *own.notices, *rewritten.notices, *notices)
    return TrainCommand(config, said, frozenset(given), translation)


def resolve_train_config(argv: Sequence[str], folder: Path = ROOT) -> Config:
    """Return the settings of ``read_train_command`` alone."""
    return read_train_command(argv, folder).config
