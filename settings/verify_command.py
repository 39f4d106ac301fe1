"""Settings of a verification run: the model's, the dataset's sets, then the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import UserError, require
from evaluation.comparison.published import PUBLISHED_SETS
from interchange.image_input import BGR, OWN_MEAN, OWN_SCALE, RGB, InputFlags
from interchange.open_model import FORMATS, describe_model, is_snapshot, require_no_flags
from settings.checks import check_run, check_verification
from settings.complete import apply_flags
from settings.config import Config
from settings.config_file import ROOT, load_tables
from settings.help import HELP, VERSIONS, end_with, format_help, format_versions, take_actions
from settings.input_flags import MEAN_HELP, ORDER_HELP, SCALE_HELP
from settings.legacy.command import rewrite_verification
from settings.option import Option, check_values, parse_bool, parse_factor
from settings.option_groups.output import OUTPUT
from settings.option_groups.running import RUN, RUN_OPTIONS
from settings.option_groups.verification import VERIFY
from settings.options import SHARED_OPTIONS
from settings.parser import Word, peek, read_flags, set_options
from settings.protocols import read_protocols
from settings.verification_places import describe_others
from settings.verified_models import expand_models

ACTIONS = (HELP, VERSIONS)
_ABOUT = "Verify a trained network on pairs of faces."
_OWN_HELP = {
    "model_load_dir": f"what to verify: {FORMATS}; or a pattern of these; give the flag several times to compare models"
}
_OWN_OPTIONS = (
    Option("color_order", str, RUN, ORDER_HELP, choices=(RGB, BGR)),
    Option("input_mean", float, RUN, MEAN_HELP),
    Option("input_scale", parse_factor, RUN, SCALE_HELP, at_least=0),
    Option("report", str, OUTPUT, "folder for report.json, scores.csv and pictures"),
    Option("bad_cases", int, OUTPUT, "how many of the worst errors of each kind to show in --report", at_least=0),
    Option("flip", parse_bool, VERIFY, "0: f(image) without the mirrored image"),
    Option("pca", int, VERIFY, "give the accuracy with this many principal components too; 0: do not", at_least=0),
    Option("groups", str, VERIFY, "file of lines 'person-or-image group', or 'sets' if each set is a group"),
    Option("group_pairs", str, VERIFY, "list of pairs, as LFW's pairs.txt, that names the images for --groups"),
    Option("raw_pixels", parse_bool, VERIFY, "compare with raw pixels too, without any network"),
    Option("published", parse_bool, VERIFY, "put InsightFace's published accuracies beside"),
)
_OWN_DEFAULTS = {
    "color_order": RGB,
    "input_mean": OWN_MEAN,
    "input_scale": OWN_SCALE,
    "report": "",
    "bad_cases": 0,
    "flip": True,
    "pca": 0,
    "groups": "",
    "group_pairs": "",
    "raw_pixels": False,
    "published": False,
}
VAL_TABLE = (
    Option("network", str, RUN, "the network that the model must be of"),
    Option("dataset", str, RUN, "the dataset whose verification sets are used"),
    *RUN_OPTIONS,
    *(replace(option, help=_OWN_HELP.get(option.key, option.help)) for option in SHARED_OPTIONS),
    *_OWN_OPTIONS,
)
_FIRST = tuple(option for option in VAL_TABLE if option.key in ("model_load_dir", "dataset", "val_targets"))
_OF_THE_MODEL = ("val_targets", "val_dataset_dir", "val_data_part_num", "val_batch_size", "val_batch_size_per_device")
_OF_THE_RUN = [option.key for option in (*RUN_OPTIONS, *SHARED_OPTIONS) if option.key not in _OF_THE_MODEL]
_OF_A_DATASET = ("val_targets", "val_dataset_dir")
_PLACE = "_dataset_dir"
_MODEL = "--model_load_dir"


@dataclass(frozen=True)
class VerifyCommand:
    """A command line that has been read.

    Attributes:
        config: the checked settings.
        notices: lines to print about flags of older programs and keys of older files.
        translation: the command line in the flags of this program if it had older ones, else empty.
    """

    config: Config
    notices: tuple[str, ...]
    translation: str = ""


def read_verify_command(argv: Sequence[str], folder: Path = ROOT) -> VerifyCommand:
    """Return the checked settings of a verification run, and notices about its flags.

    Flags of the older insightface_val.py keep their meaning; those of training have no effect, and a notice says so.
    If the command line asks for help or versions, print them and exit.

    Raises:
        UserError: no model, an unknown name, key or flag, or values that are impossible or contradict each other.
    """
    actions, words = take_actions(argv, ACTIONS)
    if VERSIONS in actions:
        end_with(format_versions())
    tables = load_tables(folder)
    defaults = {**tables.default, **tables.config, **_OWN_DEFAULTS}
    if HELP in actions:
        shown = {key: value for key, value in defaults.items() if key not in ("network", "dataset")}
        end_with(format_help(_ABOUT, VAL_TABLE, shown, ACTIONS))
    rewritten = rewrite_verification(words, tables, VAL_TABLE)
    words, models = _take_models(rewritten.words)
    first = peek(words, _FIRST)
    trained = _describe_models(models)
    values = {**defaults, **trained[0], **{key: defaults[key] for key in (*_OF_THE_RUN, *_OWN_DEFAULTS)}}
    if "dataset" in first:
        sets = tables.read(tables.default.network, first["dataset"], tables.default.loss).values
        values |= {key: sets[key] for key in _OF_A_DATASET}
    notices = []
    if "val_targets" not in first:
        named = _name_sets(words, values["val_targets"])
        values["val_targets"] = [*values["val_targets"], *named]
        notices = [f"--{name}{_PLACE}: {name} is verified too; --val_targets chooses" for name in named]
    given = read_flags(words, [*VAL_TABLE, *set_options(first.get("val_targets", values["val_targets"]))])
    config = Config({**apply_flags(values, given), "models": models})
    if "network" in given:
        _check_network(config.network, models, trained)
    check_values(VAL_TABLE, config)
    if all(is_snapshot(model) for model in models):
        require_no_flags(models[0], InputFlags.of(config))
    _check_own(config)
    check_run(config)
    check_verification(config)
    read_protocols(config)
    if "val_targets" not in first:
        notices += describe_others(config.val_dataset_dir, config.val_targets)
    if config.published and not set(config.val_targets) & PUBLISHED_SETS:
        known = ", ".join(sorted(PUBLISHED_SETS))
        notices.append(f"--published 1 has no effect: there are published accuracies of {known} alone")
    translation = str(rewritten) if rewritten.is_older else ""
    return VerifyCommand(config, (*rewritten.notices, *notices), translation)


def _take_models(words: Sequence[Word]) -> tuple[list[Word], list[str]]:
    """Return the flags with the first model alone, and all models.

    Raises:
        UserError: no model is named, a pattern matches none, or a model is named twice.
    """
    given = [word for word in words if word.flag == _MODEL]
    require(bool(given) and all(word.value for word in given), f"{_MODEL} is missing: name what to verify, {FORMATS}")
    models = expand_models(word.value for word in given)
    others = [word for word in words if word.flag != _MODEL]
    return [*others, replace(given[0], value=models[0])], models


def _describe_models(models: Sequence[str]) -> list[dict[str, Any]]:
    """Return the settings of each model's training.

    Raises:
        UserError: models cannot be read; the message has a line for each.
    """
    described, problems = [], []
    for model in models:
        try:
            described.append(describe_model(model))
        except UserError as error:
            problems += str(error).splitlines()
    if problems:
        raise UserError(*problems)
    return described


def _check_network(network: str, models: Sequence[str], trained: Sequence[Mapping[str, Any]]) -> None:
    """Check that every model is of the given network.

    Raises:
        UserError: models are of another one; the message has a line for each.
    """
    problems = [
        f"--network {network}: {model} is of network {about['network']}"
        for model, about in zip(models, trained, strict=True)
        if about["network"] != network
    ]
    if problems:
        raise UserError(*problems)


def _check_own(config: Config) -> None:
    """Check the flags that only a verification has.

    Raises:
        UserError: a flag lacks another one that it needs; the message has a line for each.
    """
    needs = {
        f"--bad_cases {config.bad_cases} needs --report DIR, the folder for the pictures": config.bad_cases
        and not config.report,
        f"--group_pairs {config.group_pairs} needs --groups FILE": config.group_pairs and not config.groups,
        f"--group_pairs {config.group_pairs} names the images of one set, and --val_targets has "
        f"{len(config.val_targets)}": config.group_pairs and len(config.val_targets) > 1,
        "--groups sets compares sets, and --val_targets has one": config.groups == "sets"
        and len(config.val_targets) < 2,
    }
    if any(needs.values()):
        raise UserError(*(message for message, is_broken in needs.items() if is_broken))


def _name_sets(words: Sequence[Word], targets: Sequence[str]) -> list[str]:
    """Return the sets whose path is given by a flag and that are not among ``targets``."""
    names = [word.flag[2 : -len(_PLACE)] for word in words if word.flag.endswith(_PLACE)]
    return [name for name in dict.fromkeys(names) if name != "val" and name not in targets]
