"""Rewrite command lines of older programs in the flags of this one."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import UserError
from settings.choices import ALL_SNAPSHOTS
from settings.complete import apply_flags
from settings.legacy.flags import MXNET, OLD_FLAGS, PARSERS, PORT, SOFTMAX, OldFlag
from settings.legacy.translation import OldSettings, name_network
from settings.legacy.values import place_path_sets
from settings.legacy.verification import FLAGS_OF_VERIFICATION_PY, translate_verification_py
from settings.option import Option, read_value
from settings.option_groups.running import NAMES
from settings.parser import (
    Word,
    describes_dataset,
    format_value,
    join_words,
    peek,
    read_flags,
    set_options,
    underscored,
)
from settings.tables import Tables

_NAMED = tuple(option.key for option in NAMES)
_TRAINERS = (MXNET, SOFTMAX, PORT)
_TARGETS = "val_targets"
_PLACE = "--dataset_dir"
_FIRST_SPELLING = "--lfw_data_dir"  # in the first insightface_val.py, which verified only lfw


@dataclass(frozen=True)
class Rewritten:
    """A command line in the flags of this program.

    Attributes:
        words: the flags.
        notices: lines to print about older flags, and older keys of config.py.
        is_older: whether it had older flags.
    """

    words: list[Word]
    notices: tuple[str, ...]
    is_older: bool

    def __str__(self) -> str:
        """Return the command line, quoted for a shell."""
        return shlex.join(join_words(self.words))


def rewrite_training(words: Sequence[Word], tables: Tables, options: Sequence[Option]) -> Rewritten:
    """Rewrite the command line of a training in the flags of ``options``.

    Older keys of config.py whose meaning depends on the command line become flags too.

    Raises:
        UserError: a flag is unknown or has an impossible value, or two flags contradict each other.
    """
    written = {word.flag for word in words}
    words, values, is_older = _sort_words(words, options, _TRAINERS)
    old = OldSettings(values)
    first = peek(words, [option for option in options if option.key in (*_NAMED, _TARGETS)])
    named = {key: first[key] for key in _NAMED if key in first}
    names = old.choose_names({key: tables.default[key] for key in _NAMED}, named)
    if describes_dataset(words):
        tables = tables.with_dataset(names["dataset"])
    file = tables.read(**names)
    config = {**file.values}
    old.set_defaults(config)
    if "dataset" in named and old.is_train_softmax:
        config |= {key: value for key, value in tables.dataset[names["dataset"]].items() if key in config}
    words = [_with_mxnet_batch(word, old) for word in words]
    given = read_flags(words, [*options, *set_options(first.get(_TARGETS, config[_TARGETS]))])
    config = {**apply_flags(config, given), **names}
    old.translate(config, given, file.left)
    added = _flags_to_add(config, given, tables, [option.key for option in options])
    if "dataset_dir" in {**given, **added} and _PLACE not in written and "dataset" not in given:
        added.setdefault("dataset", config["dataset"])  # older names of the folder do not make it a set of one's own
    return Rewritten(_replace_words(words, added), (*file.notices, *old.notices), is_older)


def rewrite_verification(words: Sequence[Word], tables: Tables, options: Sequence[Option]) -> Rewritten:
    """Rewrite the command line of a verification in the flags of ``options``; flags of training have no effect.

    Raises:
        UserError: an older flag has an impossible value.
    """
    words, values, is_older = _sort_words(words, options, PARSERS)
    old = OldSettings({name: value for name, value in values.items() if name not in FLAGS_OF_VERIFICATION_PY})
    first = peek(words, [option for option in options if option.key in ("network", "dataset", _TARGETS)])
    added: dict[str, Any] = {}
    notices: list[str] = []
    if "network" in first and name_network(first["network"]) != first["network"]:
        added["network"] = name_network(first["network"])
    if "dataset" in first:
        file = tables.read(tables.default["network"], first["dataset"], tables.default["loss"])
        if "dataset_path" in file.left and not file.values["val_dataset_dir"]:
            config = {**file.values}
            notices += place_path_sets(config, Path(file.left["dataset_path"]))
            added |= {key: config[key] for key in (_TARGETS, "val_dataset_dir") if config[key] != file.values[key]}
    if _TARGETS not in first and any(underscored(word.spelling) == _FIRST_SPELLING for word in words):
        added[_TARGETS] = ["lfw"]
        notices.append(
            f"{_FIRST_SPELLING}: lfw alone is verified, as when the flag had this name; --val_targets chooses"
        )
    paths = {word.flag[2:]: word.value for word in words if word.flag.endswith("_dataset_dir")}
    translated, said = translate_verification_py(values, words, {"val_dataset_dir": "", **paths})
    replaced = {word.flag for word in translated} - {"--model_load_dir"}
    words = [*(word for word in words if word.flag not in replaced), *translated]
    old.announce("it is about training")
    return Rewritten(_replace_words(words, added), (*notices, *said, *old.notices), is_older)


def _sort_words(
    words: Iterable[Word], options: Iterable[Option], parsers: tuple[str, ...]
) -> tuple[list[Word], dict[str, Any], bool]:
    """Sort flags into this program's, renamed from older names, and older ones that need a translation, by name.

    The third result tells whether any flag is older. Unknown flags stay among the first for the parser to report.
    """
    flags = {flag for option in options for flag in option.flags}
    keys = {option.key for option in options}
    own, values, is_older = [], {}, False
    for word in words:
        row = None if word.flag in flags else _older_flag(word.flag, keys, parsers)
        if row is None:
            own.append(word)
            continue
        is_older = is_older or word.flag != f"--{row.key}"
        if row.key and (row.key in keys or row.key.endswith("_dataset_dir")):
            own.append(replace(word, flag=f"--{row.key}", written=word.spelling))
        else:
            values[row.name] = _read_value(row, word)
    return own, values, is_older


def _older_flag(flag: str, keys: set[str], parsers: tuple[str, ...]) -> OldFlag | None:
    for row in OLD_FLAGS:
        if row.flag == flag and (row.key in keys or set(row.parsers) & set(parsers)):
            return row
    return None


def _read_value(row: OldFlag, word: Word) -> Any:
    if word.value is None:
        if row.meaning:
            raise UserError(f"{row.flag} needs a value; docs/options.md lists older flags")
        return None
    try:
        return read_value(row.parse, word.value)
    except ValueError as error:
        raise UserError(f"{row.flag} {error}") from error


def _with_mxnet_batch(word: Word, old: OldSettings) -> Word:
    """Return ``word`` with the batch size that 0 images per rank mean in MXNet's trainers."""
    if word.flag != "--train_batch_size_per_device" or (word.value or "").strip() != "0":
        return word
    return replace(word, value=str(old.take_mxnet_batch()))


def _flags_to_add(
    config: Mapping[str, Any], given: Mapping[str, Any], tables: Tables, keys: Iterable[str]
) -> dict[str, Any]:
    """Return the flags to add to ``given``, so that ``keys`` resolve to their values in ``config``."""
    names = {key: config[key] for key in _NAMED}
    plain = tables.with_dataset(names["dataset"]).read(**names).values
    added = {key: name for key, name in names.items() if given.get(key, tables.default[key]) != name}
    for _ in range(2):  # an added flag may change other keys
        resolved = apply_flags(plain, {**given, **added})
        added |= {key: config[key] for key in keys if resolved[key] != config[key]}
    if config["ckpt"] != ALL_SNAPSHOTS:
        added.pop("iter_num_in_snapshot", None)  # applies only if all snapshots are kept
    return added


def _replace_words(words: Iterable[Word], added: Mapping[str, Any]) -> list[Word]:
    """Return the ``words`` that ``added`` does not replace, and those of ``added``."""
    kept = [word for word in words if word.flag[2:] not in added]
    return [*kept, *(Word(f"--{key}", format_value(value)) for key, value in added.items())]
