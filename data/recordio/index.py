"""Compare an ``.idx`` file with the records of its ``.rec`` file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.errors import UserError
from data.recordio.records import read_index
from data.recordio.scan import RecordTable

_WAYS = "use the .idx of this .rec, or --ignore_idx 1 to read every record of the .rec without it"


def match_index(path: Path, index: Path, table: RecordTable) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the key of each record (int64 [N], its position in the file if none), which are listed, and problems.

    Records that hold an image but are not listed are not among the problems: see ``describe_left_out``.

    Args:
        path: the ``.rec`` file, for messages.
        index: the ``.idx`` file.
        table: the records of the ``.rec`` file.
    """
    row_keys, listed = np.arange(len(table)), np.zeros(len(table), bool)
    try:
        keys, offsets = read_index(index)
    except UserError as error:
        return row_keys, listed, [f"{error}; {_WAYS}"]
    problems = []
    rows = np.searchsorted(table.offsets, offsets)
    found = np.zeros(len(offsets), bool)
    inside = rows < len(table)
    found[inside] = table.offsets[rows[inside]] == offsets[inside]
    lost = ~found & ~_in_damage(table, offsets)
    if lost.any():
        problems.append(_describe_lost(path, index, table.size, offsets[lost], len(offsets)))
    row_keys[rows[found]] = keys[found]
    listed[rows[found]] = True
    for values, what in ((keys, "key"), (offsets, "byte")):
        different, counts = np.unique(values, return_counts=True)
        if len(different) < len(values):
            first, others = int(np.argmax(counts > 1)), int((counts > 1).sum()) - 1
            more = f", and {others} other {what}s more than once" if others else ""
            problems.append(f"{index}: {what} {different[first]} occurs {counts[first]} times{more}; {_WAYS}")
    return row_keys, listed, problems


def describe_left_out(path: Path, index: Path, table: RecordTable, left_out: np.ndarray) -> str:
    """Return a sentence about the image records that the ``.idx`` does not list.

    Args:
        path: the ``.rec`` file.
        index: the ``.idx`` file.
        table: the records of the ``.rec`` file.
        left_out: bool [N], not all False.
    """
    sizes = np.diff(table.offsets, append=table.size)[left_out]
    return (
        f"{index} leaves out {int(left_out.sum())} of the {int(table.has_image.sum())} images of {path.name} "
        f"({int(sizes.sum())} bytes, the first at byte {table.offsets[np.argmax(left_out)]})"
    )


def _in_damage(table: RecordTable, offsets: np.ndarray) -> np.ndarray:
    """Return which offsets lie in a damaged place, bool [N]."""
    begins = np.array([place.begin for place in table.damage], np.int64)
    ends = np.array([0, *(place.end for place in table.damage)], np.int64)
    return (offsets < ends[np.searchsorted(begins, offsets, side="right")]) & (offsets >= 0)


def _describe_lost(path: Path, index: Path, size: int, lost: np.ndarray, total: int) -> str:
    beyond = lost[(lost >= size) | (lost < 0)]
    if len(beyond):
        return (
            f"{index}: {len(beyond)} of its {total} lines point outside {path.name} (the first to byte {beyond[0]}; "
            f"the file has {size} bytes): {path.name} is truncated, or the .idx belongs to another file; {_WAYS}"
        )
    return (
        f"{index}: {len(lost)} of its {total} lines do not point to a record of {path.name} (the first to byte "
        f"{lost[0]}): the .idx belongs to another file; {_WAYS}"
    )
