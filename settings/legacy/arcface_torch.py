"""Config files of InsightFace's arcface_torch (``configs/ms1mv3_r50.py``), in the flags of this program.

A file is an EasyDict named ``config``; it is read without being run. As in arcface_torch, the keys that it leaves out
come from ``base.py`` beside it, or from arcface_torch's own. docs/options.md shows the table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError, require
from settings.legacy.arcface_keys import ALWAYS, DEFAULTS, KEYS, REMARKS, Flags
from settings.legacy.flags import OLD_FLAGS
from settings.legacy.python_values import read_assignments
from settings.options import TRAIN_TABLE
from settings.parser import Word, format_value

FLAG, TABLE, BASE = "--config", "config", "base.py"
_ROWS = {key.name: key for key in KEYS}


def take_config(argv: Sequence[str]) -> list[str]:
    """Return a command line in which a config file that comes first, as in arcface_torch, is the value of --config."""
    argv = list(argv)
    return [FLAG, *argv] if argv and not argv[0].startswith("-") else argv


def with_config(words: Sequence[Word]) -> tuple[list[Word], list[str]]:
    """Return the flags with those of the config file in place of ``--config``, and a notice for each key.

    Flags of the command line override the file's.

    Raises:
        UserError: the file cannot be read, or its keys have impossible values; a line for each.
    """
    files = [word.value for word in words if word.flag == FLAG]
    if not files:
        return list(words), []
    require(len(files) == 1 and bool(files[0]), f"{FLAG} takes one file, such as configs/ms1mv3_r50.py")
    rest = [word for word in words if word.flag != FLAG]
    given = _given_keys(rest)
    if given & {"dataset", "dataset_dir"}:
        given |= {"dataset_dir", "num_classes", "val_dataset_dir", "val_targets", "total_img_num", "use_synthetic_data"}
    if "loss" in given:
        given |= {"loss_m1", "loss_m2", "loss_m3"}
    flags, notices = translate_config(find_config(files[0]), given)
    added = [Word(f"--{key}", format_value(value)) for key, value in flags.items() if key not in given]
    return [*added, *rest], notices


def _given_keys(words: Sequence[Word]) -> set[str]:
    keys = {flag: option.key for option in TRAIN_TABLE for flag in option.flags}
    keys |= {row.flag: row.key for row in OLD_FLAGS if row.key and row.flag not in keys}
    return {keys[word.flag] for word in words if word.flag in keys}


def find_config(name: str) -> Path:
    """Return the file that arcface_torch finds by this name, which need not end in .py.

    Raises:
        UserError: there is none.
    """
    for path in (Path(name), Path(f"{name}.py")):
        if path.is_file():
            return path
    raise UserError(f"{FLAG} {name} is not a file; expected a config of arcface_torch, such as configs/ms1mv3_r50.py")


def translate_config(path: Path, given: Collection[str] = ()) -> tuple[Flags, list[str]]:
    """Return the flags of this program for a config file, and a notice for each of its keys.

    The notices say which are overridden because their keys are ``given`` by flags.

    Raises:
        UserError: the file cannot be read, or its keys have impossible values; a line for each.
    """
    base, own = path.parent / BASE, read_assignments(path, TABLE)
    defaults = {**DEFAULTS, **(read_assignments(base, TABLE) if base.is_file() and base != path else {})}
    values = {**defaults, **own}
    if values.get("output") is None:
        values["output"] = f"work_dirs/{path.stem}"
    if "loss" in own and "margin_list" not in own:
        values.pop("margin_list")
    flags, notices, problems = dict(ALWAYS), [], []
    for name, value in values.items():
        try:
            new = _translate(name, value, values)
        except UserError as error:
            problems.append(f"{path}: {error}")
            continue
        flags |= new
        if name in own:
            said = f"{name} = {own[name]!r}" if new else name  # a value without effect may be a secret
            notices.append(f"{path.name}: {said}: {_describe(name, value, new, given)}")
    if problems:
        raise UserError(*problems)
    others = {name: values[name] for name in values if name not in own and name in _ROWS and _ROWS[name].translate}
    source = str(base) if base.is_file() and base != path else "configs/base.py of arcface_torch"
    said = ", ".join(f"{name} {value}" for name, value in others.items())
    notices.append(f"{path.name}: not in the file, as in {source}: {said}")
    notices.append(f"{path.name}: as in train_v2.py: {_join(ALWAYS)}")
    return flags, notices


def _translate(name: str, value: Any, values: Mapping[str, Any]) -> Flags:
    row = _ROWS.get(name)
    if row is None or row.translate is None:
        return {}
    is_wrong = not isinstance(value, row.kind) or (isinstance(value, bool) and bool not in row.kind)
    require(not is_wrong, f"{name} = {value!r} is not of the type of {row.name} in arcface_torch's configs")
    is_small = row.at_least is not None and value < row.at_least
    require(not is_small, f"{name} = {value!r} must be at least {row.at_least}")
    return row.translate(value, values)


def _describe(name: str, value: Any, flags: Flags, given: Collection[str]) -> str:
    row = _ROWS.get(name)
    if row is None:
        return "no effect: arcface_torch's train_v2.py has no such key"
    if row.notice:
        return f"no effect: {row.notice}"
    if flags and flags.keys() <= set(given):
        return "overridden by the command line"
    remark = REMARKS[row.name](value, flags) if row.name in REMARKS else ""
    return _join({key: flag for key, flag in flags.items() if key not in given}) + remark


def _join(flags: Mapping[str, Any]) -> str:
    return " ".join(f"--{key} {format_value(value)}" for key, value in flags.items())
