"""Where every record of a folder of OFRecord parts begins: built once, kept in a file beside the parts.

Layout of the file: one line of JSON (version, and name, size, modification time and record count of every part), then
the byte offsets as int64, little endian. It is mapped into memory, so the ranks of a machine share one copy.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import atomic_file
from common.progress import progress
from data.ofrecord import scan_part

INDEX_FILE = ".part-index"
_VERSION = 1
_log = logging.getLogger(__name__)


class OFRecordIndex:
    """The records of a list of parts, numbered 0..N-1 in the order of the parts.

    Attributes:
        parts: the part files.
        starts: int64 [P + 1], number of the first record of each part, and N.
        offsets: int64 [N], byte offset of each record (of its length field) in its part.
    """

    def __init__(self, parts: Sequence[Path], counts: Sequence[int], offsets: np.ndarray) -> None:
        self.parts = list(parts)
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.offsets = offsets

    def __len__(self) -> int:
        return len(self.offsets)

    def locate(self, indices: np.ndarray) -> np.ndarray:
        """Return int64 [B, 2], (part number, byte offset) of the records ``indices`` (int64 [B], 0..N-1)."""
        part = np.searchsorted(self.starts, indices, side="right") - 1
        return np.stack([part, self.offsets[indices]], axis=1)

    @classmethod
    def open(cls, parts: Sequence[Path]) -> OFRecordIndex:
        """Load the index of ``parts`` (all in one folder), or build it where it is missing or out of date.

        A folder that cannot be written to is no error: the index is then built anew each time.

        Raises:
            UserError: a part is damaged, or there is not a single record.
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
        offsets = [
            np.fromiter((offset for offset, _ in scan_part(part)), np.int64)
            for part in progress(parts, desc="indexing", unit="part")
        ]
        return cls(parts, [len(part) for part in offsets], np.concatenate(offsets))

    @classmethod
    def _load(cls, path: Path, parts: Sequence[Path], stamps: list[list]) -> OFRecordIndex | None:
        """Return the stored index if it belongs to these very files, else None."""
        try:
            with open(path, "rb") as handle:
                line = handle.readline()
                header = json.loads(line)
            if header["version"] != _VERSION or header["parts"] != stamps:
                return None
            counts = header["counts"]
            if path.stat().st_size != len(line) + 8 * sum(counts):
                return None
            offsets = np.memmap(path, "<i8", "r", len(line), (sum(counts),)) if sum(counts) else np.empty(0, np.int64)
            return cls(parts, counts, offsets)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _save(self, path: Path, stamps: list[list]) -> None:
        header = {"version": _VERSION, "parts": stamps, "counts": np.diff(self.starts).tolist()}
        try:
            with atomic_file(path) as handle:
                line = json.dumps(header).encode()
                handle.write(line + b" " * (-(len(line) + 1) % 8) + b"\n")  # keeps the numbers aligned in memory
                handle.write(self.offsets.astype("<i8").tobytes())
        except OSError as error:
            _log.info("the index of %s is not kept: %s", path.parent, error)
