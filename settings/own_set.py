"""A dataset of one's own: ``--dataset_dir DIR`` alone takes its settings from the images and from what lies beside.

Known datasets have an entry in sample_config.py. For one's own set an entry is made here, so that everything else
treats it as a known one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sample_config
from common.errors import require
from common.wording import counted
from settings.option import Option, parse_bool
from settings.options import TRAIN_TABLE
from settings.parser import Word, describes_dataset, peek
from settings.tables import Tables
from settings.verification_places import FoundSets, find_sets

_LENGTHS = ("train_iter", "max_steps", "end_epoch")
_KEYS = (
    "name",
    "dataset",
    "dataset_dir",
    "num_classes",
    "use_synthetic_data",
    "val_targets",
    "val_dataset_dir",
    "do_validation_while_train",
    *_LENGTHS,
)
_MANY_EPOCHS = 100
_FIRST: tuple[Option, ...] = tuple(option for option in TRAIN_TABLE if option.key in _KEYS)
# Folders that do not say which faces they hold; an own set is not called after them.
_GENERAL = ("train", "ofrecord", "recordio", "data", "dataset", "datasets", "parts", "images")
_LONGEST_NAME = 100  # bytes: names of networks and losses, and suffixes, are added to it
_OLDER_PLACES = ("--data_dir", "--dataset_path")
_PLACE = "_dataset_dir"
_UNKNOWN = {"num_classes": 2**31 - 1}  # of images that have not been looked at yet: fits every setting


@dataclass(frozen=True)
class OwnSet:
    """The tables for a command line that says where the training images are.

    Attributes:
        tables: with an entry for them.
        notices: lines to print about them.
    """

    tables: Tables
    notices: tuple[str, ...] = ()


def has_own_set(words: Sequence[Word], tables: Tables) -> bool:
    """Tell whether a command line, as it was written, names a folder of images and no known dataset.

    A known dataset comes with older names of the folder too, and with a config.py that chooses one as default.
    """
    given = _read_first(words)
    is_older = any(word.flag in _OLDER_PLACES for word in words)
    is_chosen = "dataset" in given or tables.default["dataset"] != sample_config.default["dataset"]
    return "dataset_dir" in given and not is_chosen and not given.get("use_synthetic_data") and not is_older


def without_images(words: Sequence[Word], tables: Tables) -> Tables:
    """Return the tables with an entry for one's own set that says nothing yet, to look for mistakes in flags.

    Raises:
        UserError: ``--name`` is impossible or names no set, or the dataset is unknown.
    """
    given = _read_first(words)
    if has_own_set(words, tables):
        entry = {**_UNKNOWN, "val_targets": _with_named_sets(words, [])}
        return tables.with_dataset(_name_set(given), entry, is_default=True)
    require(
        "name" not in given,
        f"--name {given.get('name')} names a set of your own: give its folder with --dataset_dir, and no --dataset",
    )
    name = given.get("dataset", tables.default["dataset"])
    require(
        name in tables.dataset or "dataset_dir" not in given or describes_dataset(words),
        f"unknown dataset '{name}'; known: {', '.join(sorted(tables.dataset))}. For a set of your own: "
        f"--dataset_dir {given.get('dataset_dir')} --name {name}, without --dataset",
    )
    return tables


def describe_images(words: Sequence[Word], is_own: bool, tables: Tables) -> OwnSet:
    """Return the tables with the settings that the images show.

    Args:
        words: the command line in the flags of this program.
        is_own: whether the images are a set of one's own; of a known dataset they show the number of classes alone.
        tables: the tables without them.

    Raises:
        UserError: there are no images, or the set is damaged.
    """
    given = _read_first(words)
    if is_own:
        return _describe_own(words, tables, given)
    name, is_counted = given.get("dataset", tables.default["dataset"]), "num_classes" in given
    if "dataset_dir" not in given or is_counted or given.get("use_synthetic_data") or name not in tables.dataset:
        return OwnSet(tables)
    from data.sources.training_set import has_images, read_facts  # here, because it loads OpenCV

    if not has_images(given["dataset_dir"]):  # said when the images are opened
        return OwnSet(tables)
    entry, facts = tables.dataset[name], read_facts(given["dataset_dir"])
    usual = entry.get("num_classes", tables.default["num_classes"])
    if facts.num_classes == usual:
        return OwnSet(tables)
    notice = (
        f"--dataset {name} has {usual} classes, but {facts.place} has {facts.num_classes}: these are trained. Without "
        f"--dataset {name} it is a set of your own, and the schedule of {name} does not apply"
    )
    return OwnSet(tables.with_dataset(name, {**entry, "num_classes": facts.num_classes}), (notice,))


def _read_first(words: Iterable[Word]) -> dict[str, Any]:
    """Return the values of the flags about images; wrong values are left to the parser."""
    words, given = list(words), {}
    for option in _FIRST:
        with contextlib.suppress(ValueError):
            given |= peek(words, [option])
        if option.parse is parse_bool and Word(f"--{option.key}", None) in words:
            given[option.key] = True
    return given


def _describe_own(words: Sequence[Word], tables: Tables, given: Mapping[str, Any]) -> OwnSet:
    from data.sources.training_set import read_facts  # here, because it loads OpenCV

    require(bool(given["dataset_dir"]), "--dataset_dir is empty; give a path")
    facts, name = read_facts(given["dataset_dir"]), _name_set(given)
    usual = tables.config["val_targets"]
    folders = [Path(given["val_dataset_dir"])] if given.get("val_dataset_dir") else _folders_beside(facts.place)
    sets = find_sets(folders, given.get("val_targets", usual))
    entry = {
        "num_classes": facts.num_classes,
        "image_size": facts.image_size,
        "total_img_num": facts.num_images,
        "val_targets": _with_named_sets(words, sets.chosen),
        "val_dataset_dir": str(sets.folder),
    }
    notices = [
        f"own set {name}: {counted(facts.num_images, 'image')} of {counted(facts.num_people, 'person', 'people')} "
        f"in {facts.place}, "
        f"{facts.image_size}x{facts.image_size} pixels"
    ]
    if given.get("do_validation_while_train", True) and "val_targets" not in given:
        notices.append(_describe_sets(entry["val_targets"], sets, folders))
    epochs = tables.default["train_iter"] * tables.default["train_batch_size_per_device"] // facts.num_images
    if epochs > _MANY_EPOCHS and not given.keys() & set(_LENGTHS):
        notices.append(
            f"the default length, made for millions of images, is some {epochs} epochs of these; --end_epoch or "
            "--train_iter says how long to train, --lr_steps when the learning rate falls"
        )
    return OwnSet(tables.with_dataset(name, entry, is_default=True), tuple(notices))


def _name_set(given: Mapping[str, Any]) -> str:
    """Return ``--name``, by default the name of the nearest folder that does not have a general name.

    Raises:
        UserError: ``--name`` cannot be a part of a folder's name.
    """
    if "name" in given:
        name = given["name"]
        require(
            _can_name(name),
            f"--name {name!r} becomes part of folder names: it must not be empty, contain / or unprintable characters, "
            f"begin with a dot, begin or end with a blank, or have more than {_LONGEST_NAME} bytes",
        )
        return name
    place = Path(os.path.abspath(given["dataset_dir"]))
    folder = place.parent if place.suffix == ".rec" else place
    parts = reversed(folder.parts[1:])
    return next((part for part in parts if part.lower() not in _GENERAL and _can_name(part)), "own")


def _can_name(name: str) -> bool:
    is_text = name.isprintable() and name == name.strip() and "/" not in name  # surrogates cannot be printed either
    return is_text and not name.startswith(".") and 0 < len(name.encode()) <= _LONGEST_NAME


def _folders_beside(place: Path) -> list[Path]:
    """Return the folders where verification sets of the images in ``place`` may lie."""
    if place.is_file():
        return [place.parent, place.parent / "ofrecord"]
    above = place.parent
    return [place, above, *([above.parent] if above.name == "ofrecord" else [])]


def _with_named_sets(words: Iterable[Word], names: Sequence[str]) -> list[str]:
    """Return ``names`` and the sets whose place is given by a flag."""
    flags = [word.flag for word in words if word.flag.endswith(_PLACE) and word.flag != f"--val{_PLACE}"]
    return list(dict.fromkeys([*names, *(flag[2 : -len(_PLACE)] for flag in flags)]))


def _describe_sets(targets: Sequence[str], sets: FoundSets, folders: Sequence[Path]) -> str:
    if not targets:
        return (
            f"no verification set (NAME.bin or parts) in {', '.join(map(str, folders))}: not verified; "
            "tools/dataset_convert/pairs_2_bin.py makes one"
        )
    others = f"; there too: {', '.join(sets.others)} (--val_targets chooses)" if sets.others else ""
    return f"verified on {', '.join(targets)}, found in {sets.folder}{others}"
