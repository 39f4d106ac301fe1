"""The records of a training set by number: where each image lies, and its class. Built once, then kept in a file.

The file (``data.sources.index_file``) is mapped into memory, so the ranks of a machine share one copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError
from data.sources.index_file import IndexFile

_FEW = 64  # classes per image that may be counted in an array of all classes
Builder = Callable[[], Sequence[np.ndarray]]


class RecordIndex:
    """The records of a list of files, numbered 0..N-1 in the order of the files.

    Attributes:
        files: the files.
        starts: int64 [P + 1], number of the first record of each file, and N.
        records: ``RECORD`` [N].
        num_classes: the largest label, plus 1.
    """

    def __init__(self, files: Sequence[Path], counts: Sequence[int], records: np.ndarray) -> None:
        self.files = list(files)
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.records = np.asarray(records)  # a plain view, because indexing a np.memmap is slow
        self.num_classes = int(self.records["label"].max(initial=-1)) + 1

    def __len__(self) -> int:
        return len(self.records)

    def locate(self, indices: np.ndarray) -> np.ndarray:
        """Return int64 [B, 4] for the records ``indices`` (int64 [B], 0..N-1).

        The columns: file number, byte offset of the record, byte offset of the image in the file, the image's length.
        """
        file = np.searchsorted(self.starts, indices, side="right") - 1
        found = self.records[indices]
        return np.stack([file, found["offset"], found["offset"] + found["image"], found["length"]], axis=1)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Return the classes of the records ``indices``, int32 [B]."""
        return self.records["label"][indices]

    def count_people(self) -> int:
        """Return the number of classes that have images."""
        labels = self.records["label"]
        if self.num_classes > _FEW * (len(self) + 1):
            return len(np.unique(labels))
        return int(np.count_nonzero(np.bincount(labels)))  # faster, and needs memory for each class

    def check_labels(self, num_classes: int) -> None:
        """Check that all labels are below ``num_classes``.

        Raises:
            UserError: labels are not; the message names the file and the byte offset of the first.
        """
        if self.num_classes <= num_classes:
            return
        outside = self.records["label"] >= num_classes
        index = int(np.argmax(outside))
        file, offset = self.locate(np.array([index]))[0, :2]
        raise UserError(
            f"{self.files[file]}: record at byte {offset}: label {self.records['label'][index]}, but the config has "
            f"num_classes {num_classes}; correct num_classes or the dataset ({np.count_nonzero(outside)} of "
            f"{len(self)} images have such labels, up to {self.num_classes - 1})"
        )

    @classmethod
    def open(cls, files: Sequence[Path], store: IndexFile, build: Builder) -> RecordIndex:
        """Load the index of ``files`` from ``store``, or build it if it is missing or out of date.

        One process builds at a time, and others wait for its result. Where the index cannot be stored, it is built each
        time.

        Args:
            files: the files with the records.
            store: where the index is kept.
            build: returns ``RECORD`` [N] for each file.

        Raises:
            UserError: a file is damaged.
        """
        found = store.load()
        if found is None:
            with store.lock():
                found = store.load()  # another process may have built it meanwhile
                if found is None:
                    records = build()
                    found = [len(part) for part in records], np.concatenate(records)
                    store.save(*found)
        return cls(files, *found)
