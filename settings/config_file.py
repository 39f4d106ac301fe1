"""The tables behind a run's settings: those of config.py where there is one, else of sample_config.py."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from easydict import EasyDict

import sample_config
from common.errors import UserError, lookup
from settings.legacy.command import OldCommand
from settings.legacy.config_file import ROWS, complete_length, find_own_settings, overlay, translate_entry
from settings.legacy.values import fit_scales

ROOT = Path(__file__).resolve().parent.parent
SINGLE, NAMED = ("default", "config"), ("loss", "network", "dataset")  # in the order in which later ones win
_COUNTERS = {"iter_num_in_snapshot", *(row.name for row in ROWS.values() if row.key == "iter_num_in_snapshot")}
_LATER = ("dataset_path", "pretrained_epoch")  # mean something only next to what the command line says


@dataclass(frozen=True)
class Tables:
    """The tables of a file.

    Attributes:
        path: the file.
        module: what was read from it.
        first: the tables as they are in the file.
        said: the same in our keys.
    """

    path: Path
    module: ModuleType
    first: Mapping[str, EasyDict]
    said: Mapping[str, EasyDict]

    @property
    def network(self) -> EasyDict:
        """The networks by name."""
        return self.said["network"]

    @property
    def dataset(self) -> EasyDict:
        """The datasets by name."""
        return self.said["dataset"]

    @property
    def loss(self) -> EasyDict:
        """The losses by name."""
        return self.said["loss"]

    @property
    def default(self) -> EasyDict:
        """The defaults of a run; what the file lacks comes from sample_config."""
        return EasyDict({**sample_config.default, **self.said["default"]})

    @property
    def config(self) -> EasyDict:
        """The structure; what the file lacks comes from sample_config."""
        return EasyDict({**sample_config.config, **self.said["config"]})


@dataclass(frozen=True)
class FileSettings:
    """What a file says of one run.

    Attributes:
        config: the settings.
        notices: what there is to say about keys of older files, a line each.
        later: values that mean something only next to what the command line says.
    """

    config: EasyDict
    notices: tuple[str, ...] = ()
    later: Mapping[str, Any] = field(default_factory=dict)


def sample_tables() -> Tables:
    """Return the tables of sample_config.py."""
    tables = {name: getattr(sample_config, name) for name in (*SINGLE, *NAMED)}
    return Tables(Path(sample_config.__file__), sample_config, tables, tables)


def load_tables(folder: Path = ROOT) -> Tables:
    """Return the tables of ``config.py`` in ``folder`` when present, else of sample_config.

    Raises:
        UserError: config.py cannot be read, lacks a table or has a key that nobody knows.
    """
    path = folder / "config.py"
    if not path.is_file():
        return sample_tables()
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path}: {type(error).__name__}: {error}; compare it with sample_config.py") from error
    missing = [name for name in (*SINGLE, *NAMED, "generate_config") if not hasattr(module, name)]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; copy sample_config.py and edit the copy")
    first = {name: getattr(module, name) for name in (*SINGLE, *NAMED)}
    for name in NAMED:
        first[name] = EasyDict({**getattr(sample_config, name), **first[name]})
    said = {name: EasyDict(translate_entry(first[name], f"{path}: {name}")) for name in SINGLE}
    for name in NAMED:
        entries = {key: translate_entry(entry, f"{path}: {name}.{key}") for key, entry in first[name].items()}
        said[name] = EasyDict(entries)
    return Tables(path, module, first, said)


def merge(tables: Tables, network: str, dataset: str, loss: str) -> EasyDict:
    """Return the settings of the three names; keys that an older config.py lacks come from sample_config.

    Raises:
        UserError: a name is unknown; the message lists the known ones.
    """
    return read_settings(tables, network, dataset, loss).config


def read_settings(tables: Tables, network: str, dataset: str, loss: str) -> FileSettings:
    """Return all that the file says of a run of the three names.

    Raises:
        UserError: a name is unknown, or ``generate_config`` fails.
    """
    names = {"network": network, "dataset": dataset, "loss": loss}
    for kind in ("network", "dataset", "loss"):
        lookup(getattr(tables, kind), names[kind], kind)
    fallback = {**sample_config.default, **sample_config.config}
    if tables.module is sample_config:
        return FileSettings(EasyDict({**fallback, **sample_config.generate_config(network, dataset, loss)}))
    return _Reader(tables, names).read(fallback)


class _Reader:
    """Reads what a config.py says of one run."""

    def __init__(self, tables: Tables, names: Mapping[str, str]) -> None:
        self._tables, self._names = tables, names
        self._notices: list[str] = []

    def read(self, fallback: Mapping[str, Any]) -> FileSettings:
        settings = self._generate(self._tables.first)
        settings = self._merge_older() if settings is None else self._generate(self._tables.said)
        own = {key: value for key, value in settings.items() if key not in ROWS or ROWS[key].key == key}
        older = {key: value for key, value in settings.items() if key not in own}
        later = {key: older.pop(key) for key in _LATER if key in older}
        old = OldCommand(older, f"{self._tables.path.name}: ")
        config = EasyDict({**fallback, **own, **self._names})
        old.translate_file(config)
        fit_scales(config, "scales" in own)
        return FileSettings(config, (*self._notices, *old.notices), later)

    def _generate(self, tables: Mapping[str, EasyDict]) -> dict[str, Any] | None:
        """Call ``generate_config`` over a copy of ``tables``, which it may change."""
        module = self._tables.module
        for name, table in tables.items():
            setattr(module, name, copy.deepcopy(table))
        try:
            settings = module.generate_config(self._names["network"], self._names["dataset"], self._names["loss"])
        except Exception as error:
            raise UserError(f"{self._tables.path}: generate_config: {type(error).__name__}: {error}") from error
        return dict(settings) if settings is not None else None

    def _merge_older(self) -> dict[str, Any]:
        """Merge the tables as we do, and what ``generate_config`` sets by itself, which it left in them."""
        tables, path = self._tables, self._tables.path
        after = {name: getattr(tables.module, name) for name in SINGLE}
        own = find_own_settings(tables.first, after, self._choose(tables.first))
        settings = overlay([*(tables.said[name] for name in SINGLE), *self._choose(tables.said)])
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
        name, path = self._names["dataset"], self._tables.path.name
        said = self._tables.dataset[name].get("dataset", name)
        if said != name:
            self._notices.append(f"{path}: dataset.{name}.dataset = {said!r} has no effect: {name} is its name")
        if hasattr(self._tables.module, "val_dataset"):
            self._notices.append(
                f"{path}: the table val_dataset has no effect: default.val_dataset_dir is the folder of all sets"
            )
        if settings.get("ckpt") in (0, 1, 3) and any(_COUNTERS & table.keys() for table in after.values()):
            self._notices.append(
                f"{path}: iter_num_in_snapshot is for ckpt 2, all snapshots; ckpt {settings['ckpt']} goes by "
                "verifications"
            )
