"""Judge the labels of a RecordIO set: are they the class numbers 0, 1, 2, ... of people?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.wording import counted
from data.recordio.property import PROPERTY_FILE, Property

EXACT = 1 << 24
"""Labels are float32, which holds whole numbers exactly only below this."""
PACK_AGAIN = "pack the set again with labels 0, 1, 2, ..."
_RENUMBER = "--renumber_labels 1 numbers the classes 0, 1, 2, ... and writes label_map.txt"


class LabelJudge:
    """Collects what is wrong with the labels of one file.

    Args:
        path: the ``.rec`` file.
        keys: int64 [N], the key of each image, for messages.
        offsets: int64 [N], the byte of its record.
        counts: int32 [N], number of labels of each image.
        labels: float32 [N, 2], the first two of them.

    Attributes:
        labels: int32 [N], the first label; -1 if it is not a class number.
        problems: one line each, empty if the labels can be used.
        notices: one line each.
    """

    def __init__(
        self, path: Path, keys: np.ndarray, offsets: np.ndarray, counts: np.ndarray, labels: np.ndarray
    ) -> None:
        self.problems: list[str] = []
        self.notices: list[str] = []
        self._path, self._keys, self._offsets = path, keys, offsets
        self._labels = labels[:, 0]
        with np.errstate(invalid="ignore"):
            whole = (self._labels >= 0) & (np.floor(self._labels) == self._labels) & np.isfinite(self._labels)
        self.labels = np.full(len(labels), -1, np.int32)
        usable = whole & (self._labels < 1 << 31)
        self.labels[usable] = self._labels[usable]
        if _is_detection(counts, labels):
            self.problems.append(
                f"{path}: its labels have the form of object detection ([{labels[0, 0]:.0f}, {labels[0, 1]:.0f}, "
                f"class, box, ...]), so the first is not a class number; {PACK_AGAIN}"
            )
            return
        large = whole & (self._labels >= EXACT)
        if not whole.all():
            self._complain(~whole, f"is not a class number (0, 1, 2, ...); {PACK_AGAIN}")
        if large.any():
            different = len(np.unique(self._labels[large]))
            self._complain(
                large,
                f"is {EXACT} or more, where float32 holds not every whole number: neighbouring labels are already one "
                f"({different} different ones are left) and cannot be told apart again; {PACK_AGAIN}",
            )

    def classes(self, prop: Property | None, renumber: bool) -> tuple[np.ndarray, int, np.ndarray | None]:
        """Return the class of each image (int32 [N]), the number of classes, and the label of each class if renumbered.

        Compares the labels with ``property``. Call it only while there are no problems.
        """
        labels = self.labels
        found = np.unique(labels)
        highest = int(found[-1])
        dense = highest + 1 == len(found)
        if renumber:
            if prop and prop.num_classes != len(found):
                self.notices.append(
                    f"{self._path}: {counted(len(found), 'class')}; its {PROPERTY_FILE} file says {prop.num_classes}"
                )
            if dense:
                return labels, len(found), None
            self.notices.append(f"{self._path}: labels {found[0]} to {highest} become classes 0 to {len(found) - 1}")
            return np.searchsorted(found, labels).astype(np.int32), len(found), found.astype(np.int64)
        num_classes = prop.num_classes if prop else highest + 1
        if highest >= num_classes:
            way = f"correct or remove {PROPERTY_FILE}"
            self._complain(
                labels >= num_classes,
                f"is not below the {counted(num_classes, 'class')} of its {PROPERTY_FILE} file; "
                f"{way if dense else f'{way}, or {_RENUMBER}'}",
            )
        elif len(found) < num_classes:
            whose = (
                f"its {PROPERTY_FILE} file says {counted(num_classes, 'class')}"
                if prop
                else f"the highest label is {highest}"
            )
            text = f"{self._path}: {whose}, but the images show {len(found)}"
            if 2 * len(found) < num_classes:
                self.problems.append(f"{text}; {f'correct or remove {PROPERTY_FILE}' if dense else _RENUMBER}")
            else:
                self.notices.append(text)
        return labels, num_classes, None

    def _complain(self, rows: np.ndarray, what: str) -> None:
        first, count = int(np.argmax(rows)), int(rows.sum())
        others = f" (and those of {count - 1} other images)" if count > 1 else ""
        self.problems.append(
            f"{self._path}: key {self._keys[first]} at byte {self._offsets[first]}: "
            f"label {self._labels[first]:.9g}{others} {what}"
        )


def _is_detection(counts: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether all labels begin as MXNet's for object detection: header length A, object length B, A - 2 numbers
    and objects of B numbers each."""
    header, length = labels[0].tolist()
    if not (header >= 2 and header.is_integer() and length >= 5 and np.all(labels == labels[0])):
        return False
    rest = counts - header
    return bool(np.all((rest > 0) & (rest % length == 0)))
