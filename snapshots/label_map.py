"""Label maps: files that say which class of a run is which class of the snapshot that it starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError, require
from common.numpy_files import NUMPY_ERRORS, describe_error
from common.text_files import read_lines

_MOST = np.iinfo(np.int64).max  # of a class number


@dataclass(frozen=True)
class LabelMap:
    """Pairs of classes, int64 [N] each: ``old`` in the snapshot, ``new`` in the run; no class appears twice."""

    path: Path
    old: np.ndarray
    new: np.ndarray

    def check_sizes(self, old_classes: int, new_classes: int) -> None:
        """Check that all classes exist.

        Raises:
            UserError: a class number is out of range.
        """
        for what, given, count in (("old", self.old, old_classes), ("new", self.new, new_classes)):
            where = "the snapshot" if what == "old" else "this run"
            require(
                given.max() < count, f"{self.path} names {what} class {given.max()}, but {where} has {count} classes"
            )

    def source_classes(self, start: int, stop: int) -> np.ndarray:
        """Return the old class of each new class ``start`` .. ``stop - 1``, int64; -1 where the file names none."""
        sources = np.full(stop - start, -1, np.int64)
        own = (self.new >= start) & (self.new < stop)
        sources[self.new[own] - start] = self.old[own]
        return sources


def read_label_map(path: str | Path) -> LabelMap:
    """Read ``old new`` pairs: an .npy of whole numbers [N, 2], or a text file with a pair in each line.

    In a text file, numbers are separated by blanks, tabs or a comma; a # starts a comment.

    Raises:
        UserError: the file cannot be read, is not a list of pairs, or names a class twice.
    """
    path = Path(path)
    read = _read_npy if path.suffix == ".npy" else _read_text
    pairs, place = read(path)
    require(len(pairs) > 0, f"{path} names no classes; expected pairs of an old and a new class")
    for column, what in enumerate(("old", "new")):
        classes = pairs[:, column]
        if classes.min() < 0:
            raise UserError(f"{place(int(classes.argmin()))}: {what} class {classes.min()} is negative")
        order = np.argsort(classes, kind="stable")
        twice = np.flatnonzero(np.diff(classes[order]) == 0)
        if len(twice):
            first, second = order[twice[0]], order[twice[0] + 1]
            raise UserError(
                f"{place(int(second))} names {what} class {classes[first]} again, after {place(int(first), False)}; "
                "each old class becomes one new class"
            )
    return LabelMap(path, pairs[:, 0], pairs[:, 1])


def _read_npy(path: Path) -> tuple[np.ndarray, Callable[..., str]]:
    try:
        pairs = np.load(path, allow_pickle=False)
    except NUMPY_ERRORS as error:
        raise UserError(
            f"{path} cannot be read ({describe_error(error)}); expected an .npy of whole numbers [N, 2]"
        ) from error
    if not isinstance(pairs, np.ndarray) or pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        found = f"{pairs.dtype} {list(pairs.shape)}" if isinstance(pairs, np.ndarray) else "several arrays"
        raise UserError(f"{path} holds {found}, expected whole numbers [N, 2]: pairs of an old and a new class")
    if pairs.size and int(pairs.max()) > _MOST:
        raise UserError(f"{path} holds {pairs.max()}, which is more than 64 bits; expected class numbers")
    return pairs.astype(np.int64), lambda row, whole=True: f"{path}, row {row}" if whole else f"row {row}"


def _read_text(path: Path) -> tuple[np.ndarray, Callable[..., str]]:
    pairs, numbers = [], []
    for number, line in enumerate(read_lines(path), 1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            old, new = map(int, words)
        except ValueError:
            raise UserError(
                f"{path}, line {number}: '{line.strip()}' is not a pair of an old and a new class"
            ) from None
        if max(abs(old), abs(new)) > _MOST:
            raise UserError(f"{path}, line {number}: '{line.strip()}' has a number of more than 64 bits")
        pairs.append((old, new))
        numbers.append(number)
    array = np.array(pairs, np.int64).reshape(-1, 2)
    return array, lambda row, whole=True: f"{path}, line {numbers[row]}" if whole else f"line {numbers[row]}"
