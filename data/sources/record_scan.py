"""Scan files of records for an index, in segments, so that several processes share a file.

Each format has a scanner, such as ``scan_part`` of ``data.sources.ofrecord_scan``. The first byte of a segment may lie
within a record: then the scanner looks for the next record. That search may err, so ``scan_files`` checks that the
segments meet, and has a segment scanned again from the right byte where they do not.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.progress import progress
from common.workers import available_cpus, map_in_processes

# Byte offset of the record in its file, byte offset of the encoded image from there (0 if the record is in pieces), the
# image's length in bytes (of a record in pieces, that of the whole record), its class.
RECORD = np.dtype([("offset", "<i8"), ("image", "<i4"), ("length", "<i4"), ("label", "<i4")])
_SEGMENT = 64 << 20
_BYTES_PER_PROCESS = 64 * _SEGMENT  # starting a process takes as long as scanning a good part of this
_MEGA = 1e6


@dataclass(frozen=True)
class Segment:
    """Bytes ``begin`` to ``end`` of a file: the records that start there.

    Attributes:
        is_exact: whether a record starts at ``begin``.
    """

    path: Path
    begin: int
    end: int
    is_exact: bool


@dataclass(frozen=True)
class Scan:
    """What a scanner found in a segment.

    Attributes:
        first: offset of the first record, the end of the segment if none starts in it.
        following: offset of the first record behind the segment.
        records: ``RECORD`` [N], those before the damage if there is one.
        damage: what is wrong at ``following``, where the scan ended; else None.
    """

    first: int
    following: int
    records: np.ndarray
    damage: str | None = None


Scanner = Callable[[Segment], Scan]


def scan_files(scanner: Scanner, files: Sequence[Path], segment_bytes: int = _SEGMENT) -> list[np.ndarray]:
    """Return the records of each file, ``RECORD`` [N]; works on all cores and shows progress.

    Args:
        scanner: a function of a module.
        files: the files.
        segment_bytes: bytes that a process scans at a time.

    Raises:
        UserError: a file cannot be read or is damaged; the message names it and the byte offset.
    """
    segments = [segment for path in files for segment in _split(path, segment_bytes)]
    total = sum(segment.end - segment.begin for segment in segments)
    workers = min(available_cpus(), total // _BYTES_PER_PROCESS)
    found: dict[Path, list[np.ndarray]] = {path: [] for path in files}
    expected = 0
    with (
        progress(total=round(total / _MEGA), desc="indexing", unit="MB") as bar,
        map_in_processes(scanner, segments, workers) as scans,
    ):
        for segment, scan in zip(segments, scans, strict=True):
            expected = 0 if segment.begin == 0 else expected
            if scan.first != expected:
                scan = scanner(Segment(segment.path, expected, segment.end, True))
            if scan.damage is not None:
                raise UserError(scan.damage)
            found[segment.path].append(scan.records)
            expected = scan.following
            bar.update(round(segment.end / _MEGA) - round(segment.begin / _MEGA))
    return [np.concatenate(records) for records in found.values()]


def _split(path: Path, length: int) -> Iterator[Segment]:
    """Yield the segments of a file, at least one."""
    size = path.stat().st_size
    for begin in range(0, max(size, 1), length):
        yield Segment(path, begin, min(begin + length, size), begin == 0)


def map_file(path: Path) -> mmap.mmap:
    """Map a file that is not empty into memory; it stays there while arrays refer to it.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with open(path, "rb") as handle:
            return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
