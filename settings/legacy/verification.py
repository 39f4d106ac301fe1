"""Translate command lines of InsightFace's verification.py: ``--model P,0 --data-dir D --target lfw``.

The port's insightface_val.py has --max and --mode too and does not read them: without ``--model`` they have no effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError, require
from settings.legacy.values import place_sets
from settings.parser import Word
from settings.verified_models import list_epochs

FLAGS_OF_VERIFICATION_PY = ("model", "data_dir", "batch_size", "max", "mode")
_TARGETS = ["lfw", "cfp_ff", "cfp_fp", "agedb_30"]
_BAD_CASES, _BAD_CASES_FOLDER = 20, "badcases"
_MODE_OF_BAD_CASES, _MODE_OF_DUMP = 1, 2
_READ_WITH_MODEL = ("max", "mode")


def translate_verification_py(
    values: Mapping[str, Any], words: Sequence[Word], config: Mapping[str, Any]
) -> tuple[list[Word], list[str]]:
    """Return the flags of this program, and notices to print, one per line.

    Args:
        values: the flags of verification.py by name.
        words: the other flags of the command line.
        config: the settings of a verification, with the paths of sets that flags give.

    Raises:
        UserError: the folder does not exist or contains no set, there is no such checkpoint, or a mode is unknown.
    """
    given = {word.flag: word.value for word in words}
    added, notices = [], []
    if "model" in values:
        added.append(Word("--model_load_dir", _name_epochs(values["model"], values.get("max", "")), "--model"))
        added += _translate_mode(values.get("mode", 0), given)
    else:
        ignored = [name for name in _READ_WITH_MODEL if name in values]
        if ignored:
            have = "has" if len(ignored) == 1 else "have"
            notices.append(f"--{', --'.join(ignored)} {have} no effect: it was not read there either")
    if "batch_size" in values:
        added.append(Word("--val_batch_size", str(values["batch_size"]), "--batch_size"))
    if "data_dir" in values:
        placed, said = _place(Path(values["data_dir"]), given, config)
        added += placed
        notices += said
    return added, notices


def _name_epochs(model: str, limits: str) -> str:
    """Return the model, for a prefix without epoch all its epochs, the newest first."""
    if Path(model).exists() or "," in model:
        return model
    epochs = list_epochs(model)[::-1]
    require(bool(epochs), f"--model {model}: there is no {model}-0000.params or that of another epoch")
    if limits:
        try:
            first, last = map(int, limits.split(","))
        except ValueError as error:
            raise UserError(f"--max {limits} must be two whole numbers, such as 0,5: the newest five epochs") from error
        if len(epochs) > last:
            epochs = epochs[first:last]
        require(bool(epochs), f"--max {limits} leaves none of the epochs of --model {model}")
    return f"{model},{'|'.join(map(str, epochs))}"


def _translate_mode(mode: int, given: Mapping[str, str | None]) -> list[Word]:
    require(mode != _MODE_OF_DUMP, "--mode 2 writes embeddings: use tools/embed.py --input NAME.bin")
    require(mode in (0, _MODE_OF_BAD_CASES), f"--mode {mode} is unknown; known: 0 (verify), 1 (bad cases)")
    wanted = {"--bad_cases": str(_BAD_CASES), "--report": _BAD_CASES_FOLDER} if mode == _MODE_OF_BAD_CASES else {}
    return [Word(flag, value, "--mode") for flag, value in wanted.items() if flag not in given]


def _place(folder: Path, given: Mapping[str, str | None], config: Mapping[str, Any]) -> tuple[list[Word], list[str]]:
    """Return the flags for the sets of a folder: those that are named, or the usual ones, as far as they exist."""
    require(folder.is_dir(), f"--data_dir {folder} is not a folder; expected one with .bin files")
    named = given.get("--val_targets")
    targets = [name.strip() for name in named.split(",")] if named else _TARGETS
    placed = {**config, "val_targets": targets}
    notices = place_sets(placed, folder)
    require(
        bool(placed["val_targets"]), f"--data_dir {folder} has none of {', '.join(targets)}; name sets with --target"
    )
    if not named:
        notices = []  # its default sets are verified if they are there
    added = [Word("--val_targets", ",".join(placed["val_targets"]))]
    if "--val_dataset_dir" not in given:
        added.append(Word("--val_dataset_dir", placed["val_dataset_dir"], "--data_dir"))
    return added, notices
