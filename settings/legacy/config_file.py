"""Read config.py files, including copies of older sample_config.py files, in the keys of sample_config.py.

The older keys are those in the table of older flags, ``settings.legacy.flags``. Their meaning may depend on other keys,
and an older ``generate_config`` sets some itself, so a file is read for one choice of network, dataset and loss.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from easydict import EasyDict

import sample_config
from common.errors import UserError, require
from settings.complete import fit_scales
from settings.legacy.flags import OLD_FLAGS, OldFlag
from settings.legacy.translation import OldSettings
from settings.legacy.values import NET_NAMES
from settings.option import read_value
from settings.options import TRAIN_TABLE
from settings.tables import NAMED, SINGLE, FileSettings

NAMES = ("network", "dataset", "loss")
_ACCEPTED = {bool: (bool, int), float: (float, int), list: (list, tuple)}  # besides the same type
# Flags that choose table entries or paths; they make no sense in a file, which has the tables.
_COMMAND_ONLY = ("data_dir", "loss_type", "prefix", "config")
ROWS: Mapping[str, OldFlag] = {row.name: row for row in OLD_FLAGS if row.name not in _COMMAND_ONLY}
_ABSENT = object()
_COUNTERS = {"iter_num_in_snapshot", *(row.name for row in ROWS.values() if row.key == "iter_num_in_snapshot")}
_OPEN = ("dataset_path", "pretrained_epoch")  # their meaning depends on the command line
Entries = Mapping[str, EasyDict]


@dataclass(frozen=True)
class ConfigFile:
    """A config.py.

    Attributes:
        path: the file.
        module: the imported file.
        written: its tables, unchanged.
        modern: its tables after ``modernise``.
    """

    path: Path
    module: ModuleType
    written: Entries
    modern: Entries

    def read(self, names: Mapping[str, str]) -> FileSettings:
        """Return the settings of a run of ``names``: a network, a dataset and a loss.

        Raises:
            UserError: ``generate_config`` fails.
        """
        return _FileReader(self, names).read()

    def with_dataset(self, name: str, entry: Mapping[str, Any]) -> ConfigFile:
        """Return the file with another entry for a dataset."""
        tables = (
            {**tables, "dataset": EasyDict({**tables["dataset"], name: entry})}
            for tables in (self.written, self.modern)
        )
        return ConfigFile(self.path, self.module, *tables)


def modernise(written: Entries, path: Path) -> dict[str, EasyDict]:
    """Return the tables ``written`` in a config.py in the keys of sample_config.py.

    Older keys whose meaning depends on other keys are kept.

    Raises:
        UserError: a key is unknown, a value has the wrong type, or two keys contradict each other.
    """
    modern = {name: EasyDict(translate_entry(written[name], f"{path}: {name}")) for name in SINGLE}
    for name in NAMED:
        entries = {key: translate_entry(entry, f"{path}: {name}.{key}") for key, entry in written[name].items()}
        modern[name] = EasyDict(entries)
    return modern


def known_values() -> dict[str, Any]:
    """Return all keys of sample_config.py, each with one of its values there."""
    values = {}
    for table in (sample_config.network, sample_config.dataset, sample_config.loss):
        for entry in table.values():
            values |= entry
    return {**values, **sample_config.default, **sample_config.config}


def _from_verbose(every: int) -> dict[str, Any]:
    return {"validation_interval": every, "iter_num_in_snapshot": every}


# Keys with a fixed translation.
_STAND_FOR: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "verbose": _from_verbose,
    "image_shape": lambda size: {"image_size": size},
    "net_name": lambda name: NET_NAMES.get(name, {"net_name": name}),
}


def translate_entry(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return an entry of a table in the keys of sample_config.py.

    Older keys without an equivalent, or whose meaning depends on other keys, are kept.

    Raises:
        UserError: a key is unknown, a value has the wrong type, or two keys contradict each other. ``where`` names the
            entry.
    """
    known, said = known_values(), {}
    for key, value in entry.items():
        row = None if key in known else ROWS.get(key)
        if row is None and key.endswith("_dataset_dir"):  # the path of a verification set
            row = OldFlag(f"--{key}", (), key=key)
        if key not in known and row is None:
            raise UserError(
                f"{where} has the unknown key '{key}'; known: {', '.join(sorted(known))}, and those of older files in "
                "docs/options.md"
            )
        for name, setting in _translate(key, value, row, known, where).items():
            require(
                said.get(name, setting) == setting,
                f"{where}: {key} makes {name} {setting}, and another key there {said.get(name)}; keep one of them",
            )
            said[name] = setting
    return said


def _translate(key: str, value: Any, row: OldFlag | None, known: Mapping[str, Any], where: str) -> dict[str, Any]:
    name = row.key if row and row.key else key
    if name in known:
        value = _convert(value, name, known[name], f"{where}: {key} = {value!r}")
    elif row and row.meaning:
        try:
            value = read_value(row.parse, str(value))
        except ValueError as error:
            raise UserError(f"{where}: {key} = {value!r}: {error}") from error
    return _STAND_FOR[key](value) if key in _STAND_FOR else {name: value}


def _convert(value: Any, name: str, example: Any, shown: str) -> Any:
    """Convert ``value`` to the type of ``example``: a list may be comma-separated text, a boolean 0 or 1."""
    kind = type(example)
    if kind is list and isinstance(value, str):
        parse = next(option.parse for option in TRAIN_TABLE if option.key == name)
        try:
            return read_value(parse, value)
        except ValueError as error:
            raise UserError(f"{shown}: {error}") from error
    if not isinstance(value, _ACCEPTED.get(kind, kind)):
        raise UserError(f"{shown} is not of type {kind.__name__}; sample_config.py has {example!r}")
    return kind(value)


def overlay(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge ``entries``: later ones override, also between the two keys of the batch size."""
    settings: dict[str, Any] = {}
    for entry in entries:
        if "train_batch_size_per_device" in entry and "train_batch_size" not in entry:
            settings.pop("train_batch_size", None)
        settings.update(entry)
    return settings


def generated_settings(
    before: Mapping[str, Any], after: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the settings that an older ``generate_config`` makes itself, besides copying the ``chosen`` entries."""
    said = {}
    for table in ("config", "default"):
        for key, value in after[table].items():
            # num_workers is the number of machines in MXNet's launcher.
            if key in NAMES or (key == "num_workers" and key not in before[table]):
                continue
            sources = [before[table].get(key, _ABSENT), *(entry.get(key, _ABSENT) for entry in chosen)]
            if all(source is _ABSENT or source != value for source in sources):
                said[key] = value
    return said


def complete_length(settings: dict[str, Any]) -> None:
    """Without ``train_iter`` in a file, end at ``end_epoch`` or ``max_steps``, as in train.py."""
    if "train_iter" not in settings and (settings.get("end_epoch") or settings.get("max_steps")):
        settings["train_iter"] = 0


class _FileReader:
    """Reads the settings of a config.py for one run."""

    def __init__(self, file: ConfigFile, names: Mapping[str, str]) -> None:
        """``names`` are the network, dataset and loss of the run."""
        self._file, self._names = file, names
        self._notices: list[str] = []

    def read(self) -> FileSettings:
        """Return the settings of the run; missing keys come from sample_config.

        Raises:
            UserError: ``generate_config`` fails, or a value is impossible.
        """
        settings = self._generate(self._file.written)
        settings = self._merge_older() if settings is None else self._generate(self._file.modern)
        own = {key: value for key, value in settings.items() if key not in ROWS or ROWS[key].key == key}
        older = {key: value for key, value in settings.items() if key not in own}
        left = {key: older.pop(key) for key in _OPEN if key in older}
        old = OldSettings(older, f"{self._file.path.name}: ")
        config = {**sample_config.default, **sample_config.config, **own, **self._names}
        old.translate_file(config)
        config["scales"] = fit_scales(config["lr_steps"], config["scales"], "scales" in own)
        return FileSettings(config, (*self._notices, *old.notices), left)

    def _generate(self, tables: Mapping[str, EasyDict]) -> dict[str, Any] | None:
        """Call ``generate_config`` with copies of ``tables``, which it may change; return its result."""
        module = self._file.module
        for name, table in tables.items():
            setattr(module, name, copy.deepcopy(table))
        try:
            settings = module.generate_config(self._names["network"], self._names["dataset"], self._names["loss"])
        except Exception as error:
            raise UserError(f"{self._file.path}: generate_config: {type(error).__name__}: {error}") from error
        return dict(settings) if settings is not None else None

    def _merge_older(self) -> dict[str, Any]:
        """Merge the tables, and the settings that an older ``generate_config`` has written into them."""
        path = self._file.path
        after = {name: getattr(self._file.module, name) for name in SINGLE}
        own = generated_settings(self._file.written, after, self._choose(self._file.written))
        settings = overlay([*(self._file.modern[name] for name in SINGLE), *self._choose(self._file.modern)])
        changes = translate_entry(own, f"{path}: generate_config")
        if changes:
            said = ", ".join(f"{key} = {value!r}" for key, value in own.items())
            self._notices.append(f"{path.name}: its generate_config sets {said}")
        settings = overlay([settings, changes])
        complete_length(settings)
        self._announce_older(settings, after)
        return settings

    def _choose(self, tables: Mapping[str, EasyDict]) -> list[Mapping[str, Any]]:
        return [tables[name][self._names[name]] for name in NAMED]

    def _announce_older(self, settings: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        name, path = self._names["dataset"], self._file.path.name
        said = self._file.modern["dataset"][name].get("dataset", name)
        if said != name:
            self._notices.append(f"{path}: dataset.{name}.dataset = {said!r} has no effect: {name} is its name")
        if hasattr(self._file.module, "val_dataset"):
            self._notices.append(
                f"{path}: the table val_dataset has no effect: default.val_dataset_dir is the folder of all sets"
            )
        if settings.get("ckpt") in (0, 1, 3) and any(_COUNTERS & table.keys() for table in after.values()):
            self._notices.append(
                f"{path}: iter_num_in_snapshot is for ckpt 2, all snapshots; ckpt {settings['ckpt']} goes by "
                "verifications"
            )
