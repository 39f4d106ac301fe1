"""Find the verification sets in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

_PICKLES = (b"\x80", b"(")  # how a .bin begins that Python 3 or Python 2 wrote


class FoundSets(NamedTuple):
    """Verification sets of a folder.

    Attributes:
        folder: where they are.
        chosen: those to verify: the usual ones of InsightFace that are there, else all.
        others: the further ones.
    """

    folder: Path
    chosen: list[str]
    others: list[str]


def find_sets(folders: Sequence[Path], usual: Iterable[str]) -> FoundSets:
    """Return the sets in the first of ``folders`` that has any, as NAME.bin or as parts in NAME."""
    for folder in folders:
        names = list_sets(folder)
        if names:
            chosen = [name for name in usual if name in names] or names
            return FoundSets(folder, chosen, [name for name in names if name not in chosen])
    return FoundSets(folders[0], [], [])


def list_sets(folder: Path) -> list[str]:
    """Return the names of the verification sets in a folder, sorted."""
    if not folder.is_dir():
        return []
    found = {entry.stem for entry in folder.glob("*.bin") if _is_pickle(entry)}
    found |= {entry.name for entry in folder.iterdir() if entry.is_dir() and _holds_pairs(entry)}
    return sorted(name for name in found if name.isprintable() and "," not in name and not name.startswith("."))


def describe_others(folder: str, targets: Sequence[str]) -> list[str]:
    """Return a line about the sets in ``folder`` that are not verified; none if there are none."""
    others = [name for name in list_sets(Path(folder)) if name not in targets] if folder else []
    return [f"{folder} also has {', '.join(others)}, not verified; --val_targets chooses"] if others else []


def _is_pickle(path: Path) -> bool:
    try:
        with open(path, "rb") as handle:
            return handle.read(1) in _PICKLES
    except OSError:
        return False


def _holds_pairs(folder: Path) -> bool:
    """Tell whether a folder holds the parts of a verification set, by its first record."""
    if not any(folder.glob("part-*")):
        return False
    from data.ofrecord import records  # here, so that --help comes sooner

    info = records.read_dataset_info(folder)
    if info is not None:
        return "num_pairs" in info
    _, payload = next(records.read_part(records.list_parts(folder)[0]), (0, b""))
    try:
        records.decode_verification_record(payload)
    except records.RecordError:
        return False
    return True
