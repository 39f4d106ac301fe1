"""List the models that a command line names, one by one or by a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from common.errors import UserError
from snapshots.layout import MANIFEST

_EPOCHS = re.compile(r"(.+),\s*(\*|\d+(?:\|\d+)+)$")  # of an MXNet prefix: all, or several
_FILES = (".onnx", ".pth", ".pt")
_PATTERN = re.compile(r"[*?\[]")


def expand_models(names: Iterable[str]) -> list[str]:
    """Return the models to verify, each once, in the order of the command line.

    Args:
        names: each is a model; ``PREFIX,1|2`` or ``PREFIX,*``, several or all epochs of an MXNet checkpoint; or a
            pattern of paths such as ``models/run/snapshot_*``, whose snapshots, ONNX and PyTorch files are taken in the
            order of the numbers in their names.

    Raises:
        UserError: a pattern matches no model; the message has a line for each.
    """
    models, problems = [], []
    for name in names:
        found = _expand(name)
        models += found
        if not found:
            problems.append(f"--model_load_dir {name} matches no snapshot, ONNX or PyTorch file or MXNet checkpoint")
    if problems:
        raise UserError(*problems)
    return list(dict.fromkeys(models))


def list_epochs(prefix: str) -> list[int]:
    """Return the epochs of an MXNet checkpoint whose parameters exist, rising."""
    place = Path(prefix)
    pattern = re.compile(re.escape(place.name) + r"-(\d{4,})\.params$")
    if not place.parent.is_dir():
        return []
    return sorted(int(match[1]) for entry in place.parent.iterdir() if (match := pattern.match(entry.name)))


def _expand(name: str) -> list[str]:
    if Path(name).exists():
        return [name]
    epochs = _EPOCHS.match(name)
    if epochs:
        prefix, numbers = epochs.groups()
        chosen = list_epochs(prefix) if numbers == "*" else [int(number) for number in numbers.split("|")]
        return [f"{prefix},{epoch}" for epoch in chosen]
    if not _PATTERN.search(name):
        return [name]
    anchor = Path(Path(name).anchor)
    found = anchor.glob(str(Path(name).relative_to(anchor)))
    return [str(path) for path in sorted(filter(_is_model, found), key=_natural)]


def _is_model(path: Path) -> bool:
    return (path / MANIFEST).is_file() or (path.is_file() and path.suffix in _FILES)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort numbers in names by their value: snapshot_9 comes before snapshot_10."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
