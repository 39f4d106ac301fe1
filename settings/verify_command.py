"""Settings of a verification run: the model's, the dataset's sets, then the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import require
from interchange.open_model import FORMATS, describe_model
from settings.checks import check_run, check_verification
from settings.complete import apply_flags
from settings.config import Config
from settings.config_file import ROOT, load_tables
from settings.help import HELP, VERSIONS, end_with, format_help, format_versions, take_actions
from settings.legacy.command import rewrite_verification
from settings.option import Option, check_values
from settings.options import OUTPUT, RUN, RUN_OPTIONS, SHARED_OPTIONS
from settings.parser import Word, peek, read_flags, set_options
from settings.verification_places import describe_others

ACTIONS = (HELP, VERSIONS)
_ABOUT = "Verify a trained network on pairs of faces."
_OWN_HELP = {"model_load_dir": f"what to verify: {FORMATS}"}
VAL_TABLE = (
    Option("network", str, RUN, "the network that the model must be of"),
    Option("dataset", str, RUN, "the dataset whose verification sets are used"),
    *RUN_OPTIONS,
    *(replace(option, help=_OWN_HELP.get(option.key, option.help)) for option in SHARED_OPTIONS),
    Option("report", str, OUTPUT, "folder for report.json and pictures of ROC curves and pairs"),
)
_FIRST = tuple(option for option in VAL_TABLE if option.key in ("model_load_dir", "dataset", "val_targets"))
_OF_THE_RUN = [option.key for option in (*RUN_OPTIONS, *SHARED_OPTIONS) if not option.key.startswith("val_")]
_OF_A_DATASET = ("val_targets", "val_dataset_dir")
_PLACE = "_dataset_dir"


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
    defaults = {**tables.default, **tables.config, "report": ""}
    if HELP in actions:
        shown = {key: value for key, value in defaults.items() if key not in ("network", "dataset")}
        end_with(format_help(_ABOUT, VAL_TABLE, shown, ACTIONS))
    rewritten = rewrite_verification(words, tables, VAL_TABLE)
    words = rewritten.words
    first = peek(words, _FIRST)
    require(bool(first.get("model_load_dir")), f"--model_load_dir is missing: name what to verify, {FORMATS}")
    trained = describe_model(first["model_load_dir"])
    values = {**defaults, **trained, **{key: defaults[key] for key in (*_OF_THE_RUN, "report")}}
    if "dataset" in first:
        sets = tables.read(tables.default.network, first["dataset"], tables.default.loss).values
        values |= {key: sets[key] for key in _OF_A_DATASET}
    notices = []
    if "val_targets" not in first:
        named = _name_sets(words, values["val_targets"])
        values["val_targets"] = [*values["val_targets"], *named]
        notices = [f"--{name}{_PLACE}: {name} is verified too; --val_targets chooses" for name in named]
    given = read_flags(words, [*VAL_TABLE, *set_options(first.get("val_targets", values["val_targets"]))])
    config = Config(apply_flags(values, given))
    require(
        config.network == trained["network"],
        f"--network {config.network}: {config.model_load_dir} is of network {trained['network']}",
    )
    check_values(VAL_TABLE, config)
    check_run(config)
    check_verification(config)
    if "val_targets" not in first:
        notices += describe_others(config.val_dataset_dir, config.val_targets)
    translation = str(rewritten) if rewritten.is_older else ""
    return VerifyCommand(config, (*rewritten.notices, *notices), translation)


def _name_sets(words: Sequence[Word], targets: Sequence[str]) -> list[str]:
    """Return the sets whose path is given by a flag and that are not among ``targets``."""
    names = [word.flag[2 : -len(_PLACE)] for word in words if word.flag.endswith(_PLACE)]
    return [name for name in dict.fromkeys(names) if name != "val" and name not in targets]
