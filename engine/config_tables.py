"""The tables behind a run's settings: those of config.py where there is one, else of sample_config.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from easydict import EasyDict

import sample_config
from common.errors import UserError, lookup

ROOT = Path(__file__).resolve().parent.parent
TABLES = ("config", "default", "network", "dataset", "loss")
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
