"""List the image records of a RecordIO file."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typing_extensions import override

from common.errors import UserError
from data.listing.base import Found, Listing, Request, read_names, square_size
from data.recordio import MAGIC, RecordReader
from data.recordio_dataset import open_recordio, read_image, read_property
from data.rejected import Rejection

_FRAME = struct.Struct("<II")
_LABELS = struct.Struct("<I")
_HEADER_BYTES = 24
_LENGTH = (1 << 29) - 1
_MAGIC = struct.pack("<I", MAGIC)


@dataclass(frozen=True)
class _RecordRequest(Request):
    path: Path
    keys: np.ndarray
    offsets: np.ndarray

    @override
    def read(self) -> Iterator[Found]:
        with RecordReader(self.path) as reader:
            for key, offset in zip(self.keys.tolist(), self.offsets.tolist(), strict=True):
                try:
                    encoded, label = read_image(reader, key, offset)
                except UserError as error:
                    yield Found(b"", problem=str(error))
                else:
                    yield Found(encoded, label)


class RecordListing(Listing):
    """The image records of a ``.rec`` file, in the order of the file.

    Attributes:
        keys: int64 [N].
        offsets: int64 [N], byte offset of each record.
    """

    kind = "recordio"

    def __init__(self, folder: Path) -> None:
        """List the records of ``folder/train.rec``; without an ``.idx`` damaged stretches are skipped and listed.

        Raises:
            UserError: the file or its ``.idx`` cannot be read.
        """
        super().__init__(folder)
        self.file = folder / "train.rec"
        self.names = read_names(folder)
        if (folder / "property").is_file():
            found = read_property(folder)
            self.num_classes, self.image_size = found.num_classes, square_size(found.height, found.width)
        if self.file.with_suffix(".idx").exists():
            images = open_recordio(folder)
            self.keys, self.offsets = images.keys, images.offsets
        else:
            self.offsets, gaps = scan_frames(self.file)
            self.keys = np.arange(len(self.offsets))
            for begin, end in gaps:
                details = f"bytes {begin} to {end} hold no record"
                self.damage.append(Rejection(self.file.name, "damaged file", details))

    @override
    def __len__(self) -> int:
        return len(self.offsets)

    @override
    def request(self, numbers: np.ndarray) -> Request:
        return _RecordRequest(self.file, self.keys[numbers], self.offsets[numbers])

    @override
    def describe(self, number: int) -> str:
        return f"{self.file.name}: key {self.keys[number]} at byte {self.offsets[number]}"

    @override
    def caption(self, number: int) -> str:
        return f"key {self.keys[number]}"


def scan_frames(path: Path) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Find the image records of a ``.rec`` file without its ``.idx``.

    After damage the scan resumes at the next magic number, which no payload contains at a multiple of 4 bytes.

    Returns:
        int64 [N], the offset of each image record, and the (begin, end) of the stretches in which there is none.

    Raises:
        UserError: the file cannot be read.
    """
    gaps: list[tuple[int, int]] = []
    try:
        with open(path, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
            offsets = np.fromiter(_find_images(content, gaps), np.int64)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise UserError(f"{path} is empty") from error
    return offsets, gaps


def _find_images(content: mmap.mmap, gaps: list[tuple[int, int]]) -> Iterator[int]:
    offset = 0
    while offset < len(content):
        end = _record_end(content, offset)
        if end is None:
            following = _next_record(content, offset + 4)
            gaps.append((offset, following))
            offset = following
            continue
        length = _FRAME.unpack_from(content, offset)[1]
        is_long = length >> 29 or length & _LENGTH < _HEADER_BYTES
        # A record that ends after its labels, such as an identity record, has no image.
        if is_long or length != _HEADER_BYTES + 4 * _LABELS.unpack_from(content, offset + _FRAME.size)[0]:
            yield offset
        offset = end


def _record_end(content: mmap.mmap, offset: int) -> int | None:
    """Return the end of the record at ``offset``; None if no whole record starts there."""
    expected = (0, 1)
    while offset + _FRAME.size <= len(content):
        magic, word = _FRAME.unpack_from(content, offset)
        flag, length = word >> 29, word & _LENGTH
        offset += _FRAME.size + length + -length % 4
        if magic != MAGIC or flag not in expected or offset > len(content):
            return None
        if flag in (0, 3):
            return offset
        expected = (2, 3)
    return None


def _next_record(content: mmap.mmap, start: int) -> int:
    """Return the offset of the first record at ``start`` or after it, or the end of the file."""
    found = content.find(_MAGIC, start)
    while found >= 0 and (found % 4 or _record_end(content, found) is None):
        found = content.find(_MAGIC, found + 1)
    return found if found >= 0 else len(content)
