"""Write OFRecord parts from the image records of a ``.rec`` file.

The length of every record is known before, so threads work side by side, each at its place. The kernel copies the
images from the file, which is mapped, to the parts; only the few bytes around them pass through Python.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from operator import add
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.progress import progress
from common.workers import map_in_threads
from data.ofrecord.encoding import bytes_after, bytes_before, record_lengths
from data.recordio.dataset import RecordIOImages
from data.recordio.records import unpack_span

_CALL = 160  # images in one call, about 1 MB; 3.5 MB (511 images) took half as long again
_STRETCH = 20 * _CALL  # images that a thread writes at a time
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
    total = sum(map(len, shares))
    stretches = _stretches(images, paths, shares)
    with (
        progress(total=total, desc="writing", unit="img") as bar,
        map_in_threads(partial(_write_stretch, images), stretches, num_workers) as counts,
    ):
        for count in counts:
            bar.update(count)


def _stretches(images: RecordIOImages, paths: Sequence[Path], shares: Sequence[np.ndarray]) -> Iterator[_Stretch]:
    """Create the parts and yield what is to be written to them."""
    lengths = images.lengths.copy()
    in_pieces = np.flatnonzero(images.starts == 0).tolist()
    for row, (encoded, _) in zip(in_pieces, images.read(in_pieces), strict=True):
        lengths[row] = len(encoded)
    sizes = record_lengths(lengths, _LABEL, images.labels)
    for path, rows in zip(paths, shares, strict=True):
        path.touch()
        position = 0
        for first in range(0, len(rows), _STRETCH):
            some = rows[first : first + _STRETCH]
            yield _Stretch(path, position, some)
            position += int(sizes[some].sum())


def _write_stretch(images: RecordIOImages, stretch: _Stretch) -> int:
    """Write the images of a stretch and return their number."""
    position = stretch.position
    handle = os.open(stretch.path, os.O_WRONLY)
    try:
        for first in range(0, len(stretch.rows), _CALL):
            pieces = _frame(images, stretch.rows[first : first + _CALL])
            position += _write(handle, pieces, position)
        # Begins to flush what is written, so that little is left to flush at the end; its pages stay in memory.
        os.posix_fadvise(handle, stretch.position, position - stretch.position, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        if error.errno == errno.EFAULT:
            raise UserError(f"{images.path} cannot be read: its disk reports an error; copy it again") from error
        raise
    finally:
        os.close(handle)
    return len(stretch.rows)


def _frame(images: RecordIOImages, rows: np.ndarray) -> list[bytes | memoryview]:
    """Return the pieces of memory that make up the records of images."""
    encoded = _view(images, rows)
    after = list(map(bytes_after, repeat(_LABEL), images.labels[rows].tolist()))
    before = list(map(bytes_before, map(len, encoded), map(len, after)))
    between = [*map(add, after, before[1:]), after[-1]]
    return [before[0], *chain.from_iterable(zip(encoded, between, strict=True))]


def _view(images: RecordIOImages, rows: np.ndarray) -> list[bytes | memoryview]:
    """Return encoded images, as views of the file unless they are in pieces."""
    starts, content = images.starts[rows], memoryview(images.content)
    begins = images.offsets[rows] + starts
    ends = begins + images.lengths[rows]
    found: list[bytes | memoryview] = [content[i:j] for i, j in zip(begins.tolist(), ends.tolist(), strict=True)]
    for place in np.flatnonzero(starts == 0).tolist():
        found[place] = unpack_span(bytes(found[place]))[1]
    return found


def _write(handle: int, pieces: list[bytes | memoryview], position: int) -> int:
    """Write pieces of memory at byte ``position`` and return the number of bytes."""
    total = 0
    while pieces:
        written = os.pwritev(handle, pieces, position + total)
        total += written
        pieces = _skip(pieces, written)  # not empty if the disk is full, which the next call says, or a signal came
    return total


def _skip(pieces: list[bytes | memoryview], count: int) -> list[bytes | memoryview]:
    """Return what follows the first ``count`` bytes; does not look at the contents, which may be unreadable."""
    for number, piece in enumerate(pieces):
        if count < len(piece):
            return [memoryview(piece)[count:], *pieces[number + 1 :]]
        count -= len(piece)
    return []
