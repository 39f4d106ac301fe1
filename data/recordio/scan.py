"""List the records of a RecordIO file and their headers, past damaged places.

The frames are walked once, each from its length to the next (``data.recordio.frames`` where no place is damaged). A
payload never contains the magic at a multiple of 4 bytes (it would be split there), so the next magic after a damaged
place is the start of a frame.
"""

from __future__ import annotations

import mmap
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.errors import UserError
from common.progress import progress
from data.recordio.frames import MAGIC_WORDS, find_frame, list_sound_frames
from data.recordio.records import FIRST, FRAME_BYTES, HEADER_BYTES, LAST, MAGIC, MAX_PIECE, MIDDLE, unpack_span

_MEGA = 10**6
_PROGRESS_WORDS = 8 * _MEGA
"""Words between two steps of the progress bar."""


class Damage(NamedTuple):
    """Bytes ``begin`` to ``end`` (exclusive) of the file that are not a record, and the reason."""

    begin: int
    end: int
    reason: str


@dataclass(frozen=True)
class RecordTable:
    """The records of one file, in the order of the file.

    Attributes:
        content: the file, mapped.
        offsets: int64 [N], the byte at which each record starts.
        starts: int32 [N], bytes from there to the image (to the end of a record without an image); 0 for a record in
            pieces, which ``unpack_span`` puts together.
        lengths: int32 [N], bytes of the image; for a record in pieces the bytes of the whole record.
        counts: int32 [N], number of labels, at least 1.
        labels: float32 [N, 2], the first two labels (NaN for a second one that does not exist).
        has_image: bool [N].
        damage: the places that are not records, in the order of the file.
    """

    content: mmap.mmap
    offsets: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray
    labels: np.ndarray
    has_image: np.ndarray
    damage: tuple[Damage, ...]

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.content)


def scan_records(path: str | Path) -> RecordTable:
    """List all records; reads only frames and headers.

    Raises:
        UserError: the file cannot be read or is empty.
    """
    try:
        with open(path, "rb") as handle:
            mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is empty (0 bytes); copy it again") from error
    with progress(total=len(mapped) // _MEGA, desc="reading headers", unit="MB") as bar:
        frames, damage = list_sound_frames(mapped, bar), []
        if frames is None:
            bar.reset()
            frames, damage = _walk(mapped, bar)
    words = np.frombuffer(mapped, "<u4", len(mapped) // 4)
    return _read_headers(mapped, words, frames, damage)


def _walk(mapped: mmap.mmap, bar: Any) -> tuple[np.ndarray, list[Damage]]:
    """Return the first word of every frame, int64 [N], and the damaged places between them."""
    size, frames, damage = len(mapped), array("q"), []
    words = memoryview(mapped)[: size // 4 * 4].cast("I")
    last, place, mask = len(words) - MAGIC_WORDS, 0, MAX_PIECE - 1
    append, mark = frames.append, _PROGRESS_WORDS
    while place <= last:
        if place >= mark:
            bar.update(4 * place // _MEGA - bar.n)
            mark = place + _PROGRESS_WORDS
        if words[place] != MAGIC:
            following = find_frame(mapped, place + 1)
            found = mapped[4 * place : 4 * place + FRAME_BYTES].hex()
            damage.append(Damage(4 * place, 4 * following or size, f"not a record (found {found})"))
            place = following or len(words)
            continue
        length = words[place + 1] & mask
        end = place + MAGIC_WORDS + (length + 3 >> 2)
        if end > last or words[end] != MAGIC:
            # The length may be damaged: then a frame begins before its end.
            byte_end = 4 * (place + MAGIC_WORDS) + length
            following = find_frame(mapped, place + 1) if byte_end != size else 0
            if byte_end > size and not following:
                reason = f"truncated: the record needs {length} bytes, but the file has {size} bytes"
                damage.append(Damage(4 * place, size, reason))
                place = len(words)
                break
            if following and following < end:
                damage.append(Damage(4 * place, 4 * following, f"a record of {length} bytes, too many"))
                place = following
                continue
        append(place)
        place = end
    if 4 * place < size and (not damage or damage[-1].end < size):
        damage.append(Damage(4 * place, size, f"truncated: the file has {size} bytes"))
    return np.frombuffer(frames, np.int64) if frames else np.empty(0, np.int64), damage


def _read_headers(mapped: mmap.mmap, words: np.ndarray, frames: np.ndarray, damage: list[Damage]) -> RecordTable:
    sizes = words[frames + 1]
    flags, lengths = sizes >> 29, (sizes & (MAX_PIECE - 1)).astype(np.int64)
    pieces = np.flatnonzero(flags != 0)
    split, broken = _join_pieces(frames, flags, lengths, pieces)
    first = flags == 0
    first[lengths < HEADER_BYTES] = False
    short = np.flatnonzero((flags == 0) & ~first)
    damage = [
        *damage,
        *broken,
        *(
            Damage(4 * int(frames[i]), _end(frames[i], lengths[i]), f"{lengths[i]} bytes, too few for an image header")
            for i in short.tolist()
        ),
    ]
    frames, lengths = frames[first], lengths[first]
    counts = words[frames + MAGIC_WORDS].astype(np.int64)
    fits = HEADER_BYTES + 4 * counts <= lengths
    for i in np.flatnonzero(~fits).tolist():
        reason = f"the header announces {counts[i]} labels, but the record ends after {lengths[i]} bytes"
        damage.append(Damage(4 * int(frames[i]), _end(frames[i], lengths[i]), reason))
    frames, lengths, counts = frames[fits], lengths[fits], counts[fits]
    values = words.view("<f4")
    labels = np.full((len(frames), 2), np.nan, np.float32)
    begin = frames + MAGIC_WORDS + np.where(counts > 0, HEADER_BYTES // 4, 1)
    labels[:, 0] = values[begin]
    several = counts > 1
    labels[several, 1] = values[begin[several] + 1]
    starts = FRAME_BYTES + HEADER_BYTES + 4 * counts
    table = [
        4 * frames,
        starts,
        lengths - HEADER_BYTES - 4 * counts,
        np.maximum(counts, 1),
        labels,
        lengths > HEADER_BYTES + 4 * counts,
    ]
    rows = []
    for offset, end in split:
        try:
            header, image = unpack_span(mapped[offset:end])
        except ValueError as error:
            damage.append(Damage(offset, end, str(error)))
            continue
        pair = (*header.labels[:2], np.nan)[:2]
        rows.append((offset, 0, end - offset, len(header.labels), pair, bool(image)))
    if rows:
        table = [
            np.concatenate([ours, np.array(more)]) for ours, more in zip(table, zip(*rows, strict=True), strict=True)
        ]
        order = np.argsort(table[0], kind="stable")
        table = [column[order] for column in table]
    kinds = (np.int64, np.int32, np.int32, np.int32, np.float32, bool)
    columns = [column.astype(kind, copy=False) for column, kind in zip(table, kinds, strict=True)]
    return RecordTable(mapped, *columns, tuple(sorted(damage)))


def _join_pieces(
    frames: np.ndarray, flags: np.ndarray, lengths: np.ndarray, pieces: np.ndarray
) -> tuple[list[tuple[int, int]], list[Damage]]:
    """Return (first byte, end) of every record in pieces, and the pieces that do not form a record."""
    records, damage = [], []
    start, before, following = -1, -1, -1  # of the open record: first byte, end of its last piece, number of the next
    for i in pieces.tolist():
        offset, end, flag = 4 * int(frames[i]), _end(frames[i], lengths[i]), int(flags[i])
        if start >= 0 and (flag not in (MIDDLE, LAST) or i != following):
            damage.append(Damage(start, before, "a record in pieces without its last piece"))
            start = -1
        if start < 0 and flag != FIRST:
            damage.append(Damage(offset, end, "a later piece of a record whose first piece is missing"))
            continue
        start, before, following = (offset if start < 0 else start), end, i + 1
        if flag == LAST:
            records.append((start, end))
            start = -1
    if start >= 0:
        damage.append(Damage(start, before, "a record in pieces without its last piece"))
    return records, damage


def _end(frame: int, length: int) -> int:
    return 4 * (int(frame) + MAGIC_WORDS) + int(length)
