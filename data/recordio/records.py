"""Read and write RecordIO, the record format of MXNet: framing, image headers and the ``.idx`` file.

Frame: uint32 magic, uint32 (3 bits cflag, 29 bits length), payload, zeros up to a multiple of 4 bytes. A payload that
contains the magic at a multiple of 4 bytes is split there: cflag 0 is a whole record, 1, 2 and 3 are a first, middle
and last piece, and the reader puts the magic back between the pieces (dmlc-core ``recordio.h``).
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from common.errors import UserError

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
MAX_PIECE = 1 << 29
WHOLE, FIRST, MIDDLE, LAST = range(4)

FRAME_BYTES, HEADER_BYTES = _FRAME.size, _HEADER.size


class ImageHeader(NamedTuple):
    """Header of an image record: the labels (float32, at least one) and two record numbers."""

    labels: tuple[float, ...]
    id: int = 0
    id2: int = 0


def pack_record(header: ImageHeader, image: bytes = b"") -> bytes:
    """Return header and image as one payload; a single label is stored in the header, several follow it."""
    if len(header.labels) == 1:
        return _HEADER.pack(0, header.labels[0], header.id, header.id2) + image
    labels = np.asarray(header.labels, "<f4").tobytes()
    return _HEADER.pack(len(header.labels), 0.0, header.id, header.id2) + labels + image


def unpack_record(payload: bytes) -> tuple[ImageHeader, bytes]:
    """Split a payload into its header and the encoded image (empty for a record that only holds labels).

    Raises:
        ValueError: the payload is too short for its header.
    """
    if len(payload) < _HEADER.size:
        raise ValueError(f"{len(payload)} bytes are too few for an image header ({_HEADER.size} bytes)")
    count, label, number, number2 = _HEADER.unpack_from(payload)
    start = _HEADER.size + 4 * count
    if len(payload) < start:
        raise ValueError(f"the header announces {count} labels, but the record ends after {len(payload)} bytes")
    labels = tuple(np.frombuffer(payload, "<f4", count, _HEADER.size).tolist()) if count else (label,)
    return ImageHeader(labels, number, number2), payload[start:]


def unpack_span(span: bytes) -> tuple[ImageHeader, bytes]:
    """Split the bytes of a file that are one record, in one piece or several, into its header and the encoded image.

    Raises:
        ValueError: the payload is too short for its header.
    """
    pieces, place = [], 0
    while place < len(span):
        length = _FRAME.unpack_from(span, place)[1] & (MAX_PIECE - 1)
        place += _FRAME.size
        pieces.append(span[place : place + length])
        place += length + -length % 4
    return unpack_record(MAGIC_BYTES.join(pieces))


class RecordWriter:
    """Append records to an open binary file."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._position = 0

    def write(self, payload: bytes) -> int:
        """Write one record and return its byte offset.

        Raises:
            ValueError: a piece has 2^29 bytes or more, which the format cannot hold.
        """
        offset = self._position
        pieces = _split_at_magic(payload)
        for number, piece in enumerate(pieces):
            if len(piece) >= MAX_PIECE:
                raise ValueError(f"a record of {len(piece)} bytes is too long for RecordIO")
            if len(pieces) == 1:
                cflag = WHOLE
            else:
                cflag = FIRST if number == 0 else LAST if number == len(pieces) - 1 else MIDDLE
            frame = _FRAME.pack(MAGIC, cflag << 29 | len(piece)) + piece + b"\0" * (-len(piece) % 4)
            self._handle.write(frame)
            self._position += len(frame)
        return offset


class RecordReader:
    """Read records of one file, by byte offset or in sequence. Use it as a context manager."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._handle = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}") from error
        self.size = os.fstat(self._handle).st_size

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def read(self, offset: int) -> bytes:
        """Return the payload of the record at ``offset``.

        Raises:
            UserError: no record starts there, or the file ends within it; the message names file and byte offset.
        """
        return self._read_from(offset)[0]

    def scan(self) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, payload) of every record from the start of the file."""
        offset = 0
        while offset < self.size:
            payload, following = self._read_from(offset)
            yield offset, payload
            offset = following

    def _read_from(self, offset: int) -> tuple[bytes, int]:
        """Return the payload at ``offset`` and the offset of the following record."""
        pieces = []
        cflag, length = self._frame(offset)
        while True:
            pieces.append(os.pread(self._handle, length, offset + _FRAME.size))
            offset = self._after(offset, length)
            if cflag in (WHOLE, LAST):
                return MAGIC_BYTES.join(pieces), offset
            cflag, length = self._frame(offset, continued=True)

    def _frame(self, offset: int, continued: bool = False) -> tuple[int, int]:
        """Return (cflag, length) of the frame at ``offset``, checked against the file."""
        frame = os.pread(self._handle, _FRAME.size, offset) if 0 <= offset < self.size else b""
        if len(frame) < _FRAME.size:
            raise UserError(f"{self.path}: truncated at byte {offset}: the file has {self.size} bytes; copy it again")
        magic, word = _FRAME.unpack(frame)
        cflag, length = word >> 29, word & (MAX_PIECE - 1)
        if magic != MAGIC or cflag not in ((MIDDLE, LAST) if continued else (WHOLE, FIRST)):
            raise UserError(
                f"{self.path}: no RecordIO record at byte {offset} (found {frame.hex()}); "
                "the file is damaged, or its .idx belongs to another file"
            )
        if offset + _FRAME.size + length > self.size:
            raise UserError(
                f"{self.path}: truncated: the record at byte {offset} needs {length} bytes, "
                f"but the file has {self.size} bytes; copy it again"
            )
        return cflag, length

    @staticmethod
    def _after(offset: int, length: int) -> int:
        return offset + _FRAME.size + length + -length % 4


def read_index(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read an ``.idx`` file of ``key<TAB>offset`` lines.

    Returns:
        keys and byte offsets, int64 [N] each, in the order of the file.

    Raises:
        UserError: the file cannot be read, is empty, or its contents are not pairs of whole numbers.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy only warns about text that is not a number
            numbers = np.fromstring(Path(path).read_text("ascii"), np.int64, sep=" ")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, DeprecationWarning) as error:
        raise UserError(f"{path}: not an .idx file, expected lines of 'key<TAB>offset'") from error
    if len(numbers) == 0 or len(numbers) % 2:
        raise UserError(f"{path}: found {len(numbers)} numbers, expected lines of 'key<TAB>offset'")
    return numbers[0::2], numbers[1::2]


def write_index(handle: IO[bytes], keys: Sequence[int], offsets: Sequence[int]) -> None:
    """Write ``.idx`` lines to an open binary file."""
    handle.writelines(b"%d\t%d\n" % pair for pair in zip(keys, offsets, strict=True))


def _split_at_magic(payload: bytes) -> list[bytes]:
    """Cut the payload at every magic that starts at a multiple of 4 bytes; the magic itself is dropped."""
    pieces, start, found = [], 0, payload.find(MAGIC_BYTES)
    while found >= 0:
        if found % 4 == 0:
            pieces.append(payload[start:found])
            start = found + 4
        found = payload.find(MAGIC_BYTES, found + (4 if found % 4 == 0 else 1))
    return [*pieces, payload[start:]]
