"""Keep an index of records in a file: one line of JSON, then the records as they are in memory.

The line has the version, name, size and modification time of each file that the index depends on, the number of records
of each data file, and a checksum of all of this and the records: an index that the disk has damaged is built again. The
index is kept beside the data; where that folder cannot be written, in the user's cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import multiprocessing
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import atomic_file
from common.json_text import parse_json
from data.sources.record_scan import RECORD

_VERSION = 4
_CACHE = "insightface_oneflow"
_log = logging.getLogger(__name__)


class IndexFile:
    """The stored index of some files.

    Args:
        path: where it is kept.
        files: the files that it depends on, in the folder of ``path``; one that changes makes it out of date.
    """

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        self._path = path
        self._stamps = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]

    def load(self) -> tuple[list[int], np.ndarray] | None:
        """Return the numbers of records of the data files, and ``RECORD`` [N]; None if there is none or it is old."""
        return next((found for found in map(self._load, self._places()) if found is not None), None)

    def save(self, counts: Sequence[int], records: np.ndarray) -> None:
        """Store an index; where it cannot be stored, log the reason."""
        header = {"version": _VERSION, "files": self._stamps, "counts": list(counts)}
        header["checksum"] = self._checksum(header["counts"], records)
        line = json.dumps(header).encode()
        reasons = []
        for place in self._places():
            try:
                with atomic_file(place) as handle:
                    handle.write(line + b" " * (-(len(line) + 1) % 8) + b"\n")  # aligns the numbers in memory
                    handle.write(records.tobytes())
                return
            except (OSError, UserError) as error:
                reasons.append(str(error))
        _log.warning("the index of %s is not kept, so each start builds it again: %s", self._path.parent, reasons[-1])

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the only right to build this index; wait for it and say so if another process has it.

        Raises:
            UserError: this process was started by the one that builds, and would wait for it forever.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise UserError(
                f"a process that helps to index {self._path.parent} runs the whole script again: put the script's code "
                "below a line `if __name__ == '__main__':`"
            )
        try:
            handle = os.open(self._path.parent, os.O_RDONLY)
        except OSError:
            yield
            return
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting for another process that indexes {self._path.parent}", file=sys.stderr, flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError:  # network file systems cannot lock a folder
                pass
            yield
        finally:
            os.close(handle)

    def _places(self) -> list[Path]:
        """Return the paths where the index may be: beside the data, then in the cache, if there is a home for it."""
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        if not os.path.isabs(cache):
            return [self._path]
        number = hashlib.sha256(os.fsencode(self._path.resolve())).hexdigest()[:16]
        return [self._path, Path(cache) / _CACHE / f"{self._path.parent.name}-{number}{self._path.name}"]

    def _load(self, path: Path) -> tuple[list[int], np.ndarray] | None:
        try:
            with open(path, "rb") as handle:
                line = handle.readline()
                header = parse_json(line)
            if header["version"] != _VERSION or header["files"] != self._stamps:
                return None
            counts = header["counts"]
            total = sum(counts)
            if path.stat().st_size != len(line) + RECORD.itemsize * total:
                return None
            records = np.memmap(path, RECORD, "r", len(line), (total,)) if total else np.empty(0, RECORD)
            return (counts, records) if header["checksum"] == self._checksum(counts, records) else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _checksum(self, counts: Sequence[int], records: np.ndarray) -> int:
        return zlib.crc32(records, zlib.crc32(json.dumps([self._stamps, counts]).encode()))
