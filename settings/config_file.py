"""Read config.py into tables, and write the settings of a run as a config.py."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easydict import EasyDict

import sample_config
from common.errors import UserError
from settings.config import Config
from settings.legacy.config_file import ConfigFile, modernise
from settings.tables import NAMED, SINGLE, Tables, sample_tables

ROOT = Path(__file__).resolve().parent.parent


def load_tables(folder: Path = ROOT) -> Tables:
    """Return the tables of ``config.py`` in ``folder`` if it exists, else those of sample_config.

    Raises:
        UserError: config.py cannot be read, is empty, lacks a table or has an unknown key.
    """
    path = folder / "config.py"
    if not path.is_file():
        return sample_tables()
    if path.stat().st_size == 0:  # as a shell leaves it that writes --print_config straight into it
        raise UserError(f"{path} is empty; remove it, and print settings to another file before you move them there")
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path}: {type(error).__name__}: {error}; compare it with sample_config.py") from error
    missing = [name for name in (*SINGLE, *NAMED, "generate_config") if not hasattr(module, name)]
    if missing:
        advice = "" if "config" in missing else "; a config of arcface_torch is given as --config FILE, by another name"
        raise UserError(f"{path} lacks {', '.join(missing)}; copy sample_config.py and edit the copy{advice}")
    written = {name: getattr(module, name) for name in (*SINGLE, *NAMED)}
    for name in NAMED:
        written[name] = EasyDict({**getattr(sample_config, name), **written[name]})
    modern = modernise(written, path)
    single = {name: EasyDict({**getattr(sample_config, name), **modern[name]}) for name in SINGLE}
    named = {name: modern[name] for name in NAMED}
    return Tables(path, **named, **single, file=ConfigFile(path, module, written, modern))


def merge(tables: Tables, network: str, dataset: str, loss: str) -> Config:
    """Return the settings for a network, dataset and loss; keys missing in config.py come from sample_config.

    Raises:
        UserError: a name is unknown; the message lists the known names.
    """
    return Config(tables.read(network, dataset, loss).values)


def format_config_file(config: Mapping[str, Any], tables: Tables) -> str:
    """Return the text of a config.py that resolves to ``config``."""
    names = {kind: config[kind] for kind in NAMED}
    structure = [key for key in config if key in tables.config]
    lines = [
        '"""The settings of one run, printed by --print_config. Saved as config.py, they are the defaults."""',
        "",
        "from easydict import EasyDict as edict",
        "",
        "config = edict()",
        *(f"config.{key} = {config[key]!r}" for key in structure),
        "",
        "default = edict()",
        *(f"default.{key} = {config[key]!r}" for key in config if key not in structure),
    ]
    for kind, name in names.items():
        lines += ["", f"{kind} = edict()", f"{kind}[{name!r}] = edict()"]
        lines += [
            f"{kind}[{name!r}].{key} = {config[key]!r}" for key in getattr(tables, kind).get(name, {}) if key in config
        ]
    lines += [
        "",
        "",
        "def generate_config(_network, _dataset, _loss):",
        "    merged = edict({**default, **config, **loss[_loss], **network[_network], **dataset[_dataset]})",
        "    merged.update(network=_network, dataset=_dataset, loss=_loss)",
        "    return merged",
    ]
    return "\n".join(lines)
