"""Write OFRecord parts from the image records of a ``.rec`` file.

The length of every record is known before, so threads write to the same part side by side, each at its place. The
kernel copies images from the mapped ``.rec`` file into the parts; only the few bytes around them pass through Python.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.progress import progress
from common.workers import map_in_threads
from data.ofrecord_bytes import bytes_after, bytes_before
from data.recordio import unpack_span
from data.recordio_dataset import RecordIOImages

_TASK = 4080  # images that a thread writes at a time
_CALL = 340  # images in one call, which takes at most 1024 pieces of memory: three an image
_LABEL = "label"


@dataclass(frozen=True)
class _Stretch:
    """Images ``rows`` (int64 [M]) that follow each other in a part, the first at byte ``position``."""

    path: Path
    position: int
    rows: np.ndarray


def write_parts(images: RecordIOImages, paths: Sequence[Path], shares: Sequence[np.ndarray], num_workers: int) -> None:
    """Write the parts.

    Args:
        images: the images.
        paths: the parts.
        shares: the images in each, int64 [M].
        num_workers: number of threads.

    Raises:
        UserError: the ``.rec`` file cannot be read.
        OSError: a part cannot be written.
    """
    try:
        with open(images.path, "rb") as handle:
            mapped = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise UserError(f"{images.path} cannot be read: {error.strerror}") from error
    write, total = partial(_write_stretch, images, mapped), sum(map(len, shares))
    with progress(total=total, desc="converting", unit="img") as bar:
        for count in map_in_threads(write, _stretches(images, mapped, paths, shares), num_workers):
            bar.update(count)


def _stretches(
    images: RecordIOImages, mapped: memoryview, paths: Sequence[Path], shares: Sequence[np.ndarray]
) -> Iterator[_Stretch]:
    """Create the parts and yield what is to be written to them."""
    lengths = images.lengths.copy()
    for row in np.flatnonzero(images.starts == 0).tolist():
        lengths[row] = len(_view(images, mapped, row))
    sizes = _record_lengths(lengths, images.labels)
    for path, rows in zip(paths, shares, strict=True):
        path.touch()
        position = 0
        for first in range(0, len(rows), _TASK):
            some = rows[first : first + _TASK]
            yield _Stretch(path, position, some)
            position += int(sizes[some].sum())


def _record_lengths(lengths: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the bytes that each record takes in a part, int64 [N]."""
    different, which = np.unique(lengths, return_inverse=True)
    before = np.array([len(bytes_before(length, 0)) for length in different.tolist()])[which]
    different, which = np.unique(labels, return_inverse=True)
    after = np.array([len(bytes_after(_LABEL, label)) for label in different.tolist()])[which]
    return before + lengths + after


def _view(images: RecordIOImages, mapped: memoryview, row: int) -> memoryview | bytes:
    """Return an image."""
    begin = int(images.offsets[row]) + int(images.starts[row])
    span = mapped[begin : begin + int(images.lengths[row])]
    return span if images.starts[row] else unpack_span(bytes(span))[1]


def _write_stretch(images: RecordIOImages, mapped: memoryview, stretch: _Stretch) -> int:
    """Write the images of a stretch and return their number."""
    position = stretch.position
    handle = os.open(stretch.path, os.O_WRONLY)
    try:
        for first in range(0, len(stretch.rows), _CALL):
            position += _write_rows(images, mapped, handle, position, stretch.rows[first : first + _CALL])
    finally:
        os.close(handle)
    return len(stretch.rows)


def _write_rows(images: RecordIOImages, mapped: memoryview, handle: int, position: int, rows: np.ndarray) -> int:
    """Write at most ``_CALL`` images at byte ``position`` and return the number of bytes."""
    begins = images.offsets[rows] + images.starts[rows]
    ends = begins + images.lengths[rows]
    views = [mapped[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
    for place in np.flatnonzero(images.starts[rows] == 0).tolist():
        views[place] = _view(images, mapped, int(rows[place]))
    pieces: list[bytes | memoryview] = []
    for view, label in zip(views, images.labels[rows].tolist(), strict=True):
        after = bytes_after(_LABEL, label)
        pieces += (bytes_before(len(view), len(after)), view, after)
    written = os.pwritev(handle, pieces, position)
    total = sum(map(len, pieces))
    if written < total:  # the disk is full, which the next call says, or a signal came
        rest = memoryview(b"".join(pieces))
        while written < total:
            written += os.pwrite(handle, rest[written:], position + written)
    return total
