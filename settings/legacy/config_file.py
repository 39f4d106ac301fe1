"""config.py files made from older sample_config.py files: their keys, values and ``generate_config``, in our terms.

The keys are those of the table of older flags, ``settings.legacy.flags``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sample_config
from common.errors import UserError, require
from settings.legacy.flags import OLD_FLAGS, OldFlag
from settings.legacy.values import NET_NAMES
from settings.options import TRAIN_TABLE

NAMES = ("network", "dataset", "loss")
_ACCEPTED = {bool: (bool, int), float: (float, int), list: (list, tuple)}  # beyond the same type
# They choose among the tables, or say where all the rest is; in a file the tables are there already.
_COMMAND_ONLY = ("data_dir", "loss_type", "prefix")
ROWS: Mapping[str, OldFlag] = {row.name: row for row in OLD_FLAGS if row.name not in _COMMAND_ONLY}
_ABSENT = object()


def known_values() -> dict[str, Any]:
    """Return every key that sample_config.py uses anywhere, with a value it has there."""
    values = {}
    for table in (sample_config.network, sample_config.dataset, sample_config.loss):
        for entry in table.values():
            values |= entry
    return {**values, **sample_config.default, **sample_config.config}


def _from_verbose(every: int) -> dict[str, Any]:
    return {"validation_interval": every, "iter_num_in_snapshot": every}


# Keys that stand for others, whatever else is set.
_STAND_FOR: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "verbose": _from_verbose,
    "image_shape": lambda size: {"image_size": size},
    "net_name": lambda name: NET_NAMES.get(name, {"net_name": name}),
}


def translate_entry(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return an entry of a table in our keys; those whose meaning depends on others, or that have none, stay.

    Raises:
        UserError: a key is unknown, a value of the wrong type, or two keys contradict each other. ``where`` names the
            entry.
    """
    known, said = known_values(), {}
    for key, value in entry.items():
        row = None if key in known else ROWS.get(key)
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
            value = row.parse(str(value))
        except (ValueError, argparse.ArgumentTypeError) as error:
            raise UserError(f"{where}: {key} = {value!r}: {error}") from error
    return _STAND_FOR[key](value) if key in _STAND_FOR else {name: value}


def _convert(value: Any, name: str, example: Any, shown: str) -> Any:
    """Return ``value`` with the type of ``example``: lists may be text with commas, and yes and no are 1 and 0."""
    kind = type(example)
    if kind is list and isinstance(value, str):
        parse = next(option.parse for option in TRAIN_TABLE if option.key == name)
        try:
            return parse(value)
        except argparse.ArgumentTypeError as error:
            raise UserError(f"{shown}: {error}") from error
    if not isinstance(value, _ACCEPTED.get(kind, kind)):
        raise UserError(f"{shown} is no {kind.__name__}; sample_config.py has {example!r}")
    return kind(value)


def overlay(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what ``entries`` say together: later ones win, also between the two ways to say how large a batch is."""
    settings: dict[str, Any] = {}
    for entry in entries:
        if "train_batch_size_per_device" in entry and "train_batch_size" not in entry:
            settings.pop("train_batch_size", None)
        settings.update(entry)
    return settings


def find_own_settings(
    before: Mapping[str, Any], after: Mapping[str, Any], chosen: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what a ``generate_config`` that changes its tables says by itself, beside copying ``chosen`` entries."""
    said = {}
    for table in ("config", "default"):
        for key, value in after[table].items():
            # num_workers is what MXNet's launcher calls its machines.
            if key in NAMES or (key == "num_workers" and key not in before[table]):
                continue
            sources = [before[table].get(key, _ABSENT), *(entry.get(key, _ABSENT) for entry in chosen)]
            if all(source is _ABSENT or source != value for source in sources):
                said[key] = value
    return said


def complete_length(settings: dict[str, Any]) -> None:
    """Let ``end_epoch`` or ``max_steps`` be the end where a file has no ``train_iter``, as in train.py."""
    if "train_iter" not in settings and (settings.get("end_epoch") or settings.get("max_steps")):
        settings["train_iter"] = 0
