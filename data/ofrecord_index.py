"""Index the records of a folder of OFRecord parts: built once, then kept in a file beside the parts.

Layout of the file: one line of JSON (version, and name, size, modification time and record count of every part), then a
``RECORD`` for each record. The file is mapped into memory, so the ranks of a machine share one copy.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import atomic_file
from common.progress import progress
from data.ofrecord import LENGTH, RecordError, locate_train_image, read_part

INDEX_FILE = ".part-index"
# Byte offset of the record in its part, byte offset of the encoded image from there, the image's length in bytes, its
# class.
RECORD = np.dtype([("offset", "<i8"), ("image", "<i4"), ("length", "<i4"), ("label", "<i4")])
_VERSION = 2
_log = logging.getLogger(__name__)


class OFRecordIndex:
    """The records of a list of parts, numbered 0..N-1 in the order of the parts.

    Attributes:
        parts: the part files.
        starts: int64 [P + 1], number of the first record of each part, and N.
        records: ``RECORD`` [N].
    """

    def __init__(self, parts: Sequence[Path], counts: Sequence[int], records: np.ndarray) -> None:
        self.parts = list(parts)
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.records = np.asarray(records)  # a plain view, because indexing a np.memmap is slow

    def __len__(self) -> int:
        return len(self.records)

    def locate(self, indices: np.ndarray) -> np.ndarray:
        """Return int64 [B, 4] for the records ``indices`` (int64 [B], 0..N-1).

        The columns: part number, byte offset of the record, byte offset of the image in the part, the image's length.
        """
        part = np.searchsorted(self.starts, indices, side="right") - 1
        found = self.records[indices]
        return np.stack([part, found["offset"], found["offset"] + found["image"], found["length"]], axis=1)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Return the classes of the records ``indices``, int32 [B]."""
        return self.records["label"][indices]

    def check_labels(self, num_classes: int) -> None:
        """Check that all labels are below ``num_classes``.

        Raises:
            UserError: a label is not; the message names the part and the byte offset.
        """
        if self.records["label"].max() < num_classes:
            return
        index = int(np.argmax(self.records["label"] >= num_classes))
        part, offset = self.locate(np.array([index]))[0, :2]
        raise UserError(
            f"{self.parts[part]}: record at byte {offset}: label {self.records['label'][index]}, but the config has "
            f"num_classes {num_classes}; correct num_classes or the dataset"
        )

    @classmethod
    def open(cls, parts: Sequence[Path]) -> OFRecordIndex:
        """Load the index of ``parts`` (all in one folder), or build it if it is missing or out of date.

        A read-only folder is not an error: the index is then rebuilt each time.

        Raises:
            UserError: a part is damaged, or all parts are empty.
        """
        path = parts[0].parent / INDEX_FILE
        stamps = [[part.name, part.stat().st_size, part.stat().st_mtime_ns] for part in parts]
        index = cls._load(path, parts, stamps)
        if index is None:
            index = cls._build(parts)
            index._save(path, stamps)
        if len(index) == 0:
            raise UserError(
                f"the {len(parts)} part files in {parts[0].parent} are all empty; convert the dataset again"
            )
        return index

    @classmethod
    def _build(cls, parts: Sequence[Path]) -> OFRecordIndex:
        records = [np.fromiter(_scan_records(part), RECORD) for part in progress(parts, desc="indexing", unit="part")]
        return cls(parts, [len(part) for part in records], np.concatenate(records))

    @classmethod
    def _load(cls, path: Path, parts: Sequence[Path], stamps: list[list]) -> OFRecordIndex | None:
        """Return the stored index if names, sizes and times of the parts match, else None."""
        try:
            with open(path, "rb") as handle:
                line = handle.readline()
                header = json.loads(line)
            if header["version"] != _VERSION or header["parts"] != stamps:
                return None
            counts = header["counts"]
            if path.stat().st_size != len(line) + RECORD.itemsize * sum(counts):
                return None
            records = np.memmap(path, RECORD, "r", len(line), (sum(counts),)) if sum(counts) else np.empty(0, RECORD)
            return cls(parts, counts, records)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _save(self, path: Path, stamps: list[list]) -> None:
        header = {"version": _VERSION, "parts": stamps, "counts": np.diff(self.starts).tolist()}
        try:
            with atomic_file(path) as handle:
                line = json.dumps(header).encode()
                handle.write(line + b" " * (-(len(line) + 1) % 8) + b"\n")  # aligns the numbers in memory
                handle.write(self.records.tobytes())
        except (OSError, UserError) as error:
            _log.info("the index of %s is not saved: %s", path.parent, error)


def _scan_records(part: Path) -> Iterator[tuple[int, int, int, int]]:
    """Yield the ``RECORD`` of every record of a part.

    Raises:
        UserError: the part is damaged; the message names it and the byte offset.
    """
    for offset, payload in read_part(part):
        try:
            begin, length, label = locate_train_image(payload)
        except RecordError as error:
            raise UserError(f"{part}: record at byte {offset}: {error}") from error
        yield offset, LENGTH.size + begin, length, label
