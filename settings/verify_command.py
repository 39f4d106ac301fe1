"""Settings of a verification run: the model's, the dataset's sets, then the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from easydict import EasyDict

from common.errors import require
from interchange.open_model import FORMATS, describe_model
from settings.checks import check_run
from settings.config import Config
from settings.config_file import ROOT, Tables, load_tables, read_settings
from settings.legacy.command import OldCommand, name_network, pick_values
from settings.legacy.flags import SETS
from settings.legacy.values import place_path_sets
from settings.options import OUTPUT, RUN, RUN_OPTIONS, SHARED_OPTIONS, Option
from settings.parser import Parser, add_set_options, find_translated
from settings.train_command import read_flags, read_names

VAL_TABLE = (
    Option("network", str, RUN, "the network that the model must be of"),
    Option("dataset", str, RUN, "the dataset whose verification sets are used"),
    *RUN_OPTIONS,
    *SHARED_OPTIONS,
    Option("report", str, OUTPUT, "folder for report.json and pictures of ROC curves and pairs"),
)
_ABOUT = "Verify a trained network on pairs of faces."
_OF_THE_RUN = [option.key for option in (*RUN_OPTIONS, *SHARED_OPTIONS) if not option.key.startswith("val_")]
_FIRST_SPELLINGS = ("--lfw_data_dir", "--lfw-data-dir")
_OF_A_DATASET = ("val_targets", "val_dataset_dir")


def read_val_command(argv: Sequence[str], folder: Path = ROOT) -> tuple[Config, list[str]]:
    """Return the checked settings of a verification run, and what there is to say about its flags, a line each.

    Flags of the older insightface_val.py mean what they meant; those of training have no effect, and a line says so.

    Raises:
        UserError: no model, an unknown name, key or flag, or values that contradict each other.
    """
    tables = load_tables(folder)
    defaults = {**tables.default, **tables.config, "report": ""}
    rows = find_translated(VAL_TABLE)
    if "--help" in argv or "-h" in argv:
        read_flags(argv, VAL_TABLE, EasyDict(defaults), _ABOUT, rows)  # which ends here
    first = [option for option in VAL_TABLE if option.key in ("model_load_dir", "network", "dataset", "val_targets")]
    names = read_names(argv, first, {**defaults, "network": "", "dataset": "", "val_targets": []})
    require(bool(names["model_load_dir"]), f"--model_load_dir is missing: name what to verify, {FORMATS}")
    trained = describe_model(names["model_load_dir"])
    config = EasyDict({**defaults, **trained, **{key: defaults[key] for key in [*_OF_THE_RUN, "report"]}})
    notices = _take_dataset(config, tables, names["dataset"]) if names["dataset"] else []
    if not names["val_targets"]:
        notices += _add_named_sets(config, argv)
    old = OldCommand(pick_values(read_flags(argv, VAL_TABLE, config, _ABOUT, rows)))
    old.announce("it is about training")
    config.network = config.network if config.network == trained["network"] else name_network(config.network)
    require(
        config.network == trained["network"],
        f"--network {config.network}: {config.model_load_dir} is of network {trained['network']}",
    )
    check_run(config)
    return Config(config), [*notices, *old.notices]


def _take_dataset(config: EasyDict, tables: Tables, dataset: str) -> list[str]:
    """Take the verification sets of a dataset of the tables."""
    file = read_settings(tables, tables.default.network, dataset, tables.default.loss)
    config.update({key: file.config[key] for key in _OF_A_DATASET})
    if "dataset_path" in file.later and not config.val_dataset_dir:
        return place_path_sets(config, Path(file.later["dataset_path"]))
    return []


def _add_named_sets(config: dict[str, Any], argv: Sequence[str]) -> list[str]:
    """Verify on a set, too, whose place is given as in the older program, which knew three, and lfw alone at first."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument(*_FIRST_SPELLINGS, dest="first")
    if parser.parse_known_args(argv)[0].first is not None:
        config["val_targets"] = ["lfw"]
        return ["--lfw_data_dir: lfw alone is verified, as when the flag had this name; --val_targets chooses"]
    parser = Parser(add_help=False, allow_abbrev=False)
    add_set_options(parser, SETS)
    given = vars(parser.parse_known_args(argv)[0])
    added = [name for name in SETS if f"{name}_dataset_dir" in given and name not in config["val_targets"]]
    config["val_targets"] = [*config["val_targets"], *added]
    return [f"--{name}_dataset_dir: {name} is verified too; --val_targets chooses" for name in added]
