"""Scan OFRecord parts: find each record's image and label without parsing the messages one by one.

A training record is a map of two features, in either order. Tag bytes are in hexadecimal, lengths are varints:

    0a <entry> 0a 07 "encoded" 12 <feature> 0a <bytes list> 0a <image length> image
    0a <entry> 0a 05 "label"   12 <feature> 22 <int32 list> 0a <length> label         (2a: int64 list)

All records of a segment are walked at once, as arrays. A record of another form, or whose lengths do not fit together,
is parsed as a message.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

import numpy as np

from common.errors import UserError
from data.ofrecord.records import LENGTH, RecordError, check_length, locate_train_image
from data.sources.record_scan import RECORD, Scan, Segment, map_file

_ENTRY = _KEY = _BYTES_LIST = _VALUES = 0x0A
_FEATURE, _INT32_LIST, _INT64_LIST = 0x12, 0x22, 0x2A
_IMAGE_KEY, _LABEL_KEY = np.frombuffer(b"encoded", np.uint8), np.frombuffer(b"label", np.uint8)
_VARINT_BYTES = 5  # up to 2^35
_TOO_LONG = 1 << 50  # stands for a longer varint; fits into no file
_START = b"\0\0\0\0\n"  # the high bytes of a length below 2^32, then the tag of an entry


def scan_part(segment: Segment) -> Scan:
    """Return the records that start in a segment of a part.

    Raises:
        UserError: the part cannot be read.
    """
    if segment.begin >= segment.end:  # an empty part, which cannot be mapped
        return Scan(segment.begin, segment.begin, np.empty(0, RECORD))
    mapped = map_file(segment.path)
    data = np.frombuffer(mapped, np.uint8)
    first = segment.begin if segment.is_exact else _find_record(mapped, data, segment)
    starts, damage = _chain(mapped, first, segment)
    records, bad = _read_records(data, starts)
    following = int(starts[len(records)])
    if bad is not None:
        damage = f"{segment.path}: record at byte {following}: {bad}"
    return Scan(first, following, records, damage)


def _find_record(mapped: mmap.mmap, data: np.ndarray, segment: Segment) -> int:
    """Return the offset of what looks like the first record of a segment; its end without one."""
    found = mapped.find(_START, segment.begin + LENGTH.size // 2)
    while 0 <= found < segment.end + LENGTH.size // 2:
        start = found - LENGTH.size // 2
        end = start + LENGTH.size + LENGTH.unpack_from(mapped, start)[0]
        if end <= len(mapped) and _walk(data, np.array([start, end]))[0][0]:
            return start
        found = mapped.find(_START, found + 1)
    return segment.end


def _chain(mapped: mmap.mmap, first: int, segment: Segment) -> tuple[np.ndarray, str | None]:
    """Follow the lengths of the records from ``first`` to the end of the segment.

    Returns:
        offsets of the records and of what follows the last one, int64 [N + 1]; what is wrong there, or None.
    """
    unpack, header, size = LENGTH.unpack_from, LENGTH.size, len(mapped)
    last = size - header
    offset, starts = first, []
    while offset < segment.end:
        end = offset + header + (unpack(mapped, offset)[0] if offset <= last else 0)
        if not offset + header < end <= size:
            try:
                check_length(segment.path, offset, mapped[offset : offset + header], size)
            except UserError as error:
                return np.array([*starts, offset]), str(error)
        starts.append(offset)
        offset = end
    return np.array([*starts, offset]), None


def _read_records(data: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, str | None]:
    """Return the records between ``starts``; with a bad one those before it, and what is wrong with it."""
    good, image, length, label = _walk(data, starts)
    records = np.empty(len(starts) - 1, RECORD)
    records["offset"], records["image"], records["length"], records["label"] = starts[:-1], image, length, label
    for row in np.flatnonzero(~good).tolist():
        offset = int(starts[row])
        try:
            begin, length, label = locate_train_image(data[offset + LENGTH.size : starts[row + 1]].tobytes())
        except RecordError as error:
            return records[:row], str(error)
        records[row] = (offset, LENGTH.size + begin, length, label)
    return records, None


def _walk(data: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Walk the records between ``starts``, int64 [N + 1].

    Returns:
        which have the usual form, bool [N]; of these, offset of the image from the record's start, its length, and the
        label; 0 for the others.
    """
    one = _walk_entries(data, starts[:-1] + LENGTH.size)
    two = _walk_entries(data, one.end)
    image_first = one.is_image & two.is_label
    good = image_first | (one.is_label & two.is_image)
    good &= one.fits & two.fits & (two.end == starts[1:])
    begin = np.where(image_first, one.value, two.value) - starts[:-1]
    length = np.where(image_first, one.length, two.length)
    label, end = _read_varints(data, np.where(image_first, two.value, one.value))
    good &= (end == np.where(image_first, two.end, one.end)) & (label < 1 << 31) & (length > 0)
    return good, *(np.where(good, numbers, 0) for numbers in (begin, length, label))


class _Entries(NamedTuple):
    """One map entry of each record, arrays [N]; the numbers are right where it ``fits``.

    Attributes:
        fits: its nested lengths agree.
        is_image: its key is ``encoded``, its value bytes.
        is_label: its key is ``label``, its value whole numbers.
        value: offset of the image, or of the label.
        length: its length in bytes.
        end: offset of what follows the entry.
    """

    fits: np.ndarray
    is_image: np.ndarray
    is_label: np.ndarray
    value: np.ndarray
    length: np.ndarray
    end: np.ndarray


def _walk_entries(data: np.ndarray, at: np.ndarray) -> _Entries:
    fits = _bytes(data, at) == _ENTRY
    length, at = _read_varints(data, at + 1)
    end = at + length
    key_length, key = _bytes(data, at + 1), at + 2
    fits &= _bytes(data, at) == _KEY
    is_image, is_label = _is_key(data, key, key_length, _IMAGE_KEY), _is_key(data, key, key_length, _LABEL_KEY)
    at = key + key_length
    fits &= _bytes(data, at) == _FEATURE
    length, at = _read_varints(data, at + 1)
    fits &= at + length == end
    kind = _bytes(data, at)
    is_image &= kind == _BYTES_LIST
    is_label &= (kind == _INT32_LIST) | (kind == _INT64_LIST)
    length, at = _read_varints(data, at + 1)
    fits &= at + length == end
    fits &= _bytes(data, at) == _VALUES
    length, at = _read_varints(data, at + 1)
    fits &= at + length == end
    return _Entries(fits, is_image, is_label, at, length, end)


def _bytes(data: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the bytes at ``at``; behind the end, the last byte."""
    return data[np.minimum(at, len(data) - 1)]


def _is_key(data: np.ndarray, at: np.ndarray, length: np.ndarray, key: np.ndarray) -> np.ndarray:
    return (length == len(key)) & (_bytes(data, at[:, None] + np.arange(len(key))) == key).all(axis=1)


def _read_varints(data: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the varints at ``at``, int64 [N], ``_TOO_LONG`` for those of more than 5 bytes, and where they end."""
    values, ends, is_open = np.zeros(len(at), np.int64), at.copy(), np.ones(len(at), bool)
    for shift in range(0, 7 * _VARINT_BYTES, 7):
        byte = _bytes(data, ends).astype(np.int64)
        values += np.where(is_open, (byte & 0x7F) << shift, 0)
        ends += is_open
        is_open &= byte >= 0x80
        if not is_open.any():
            return values, ends
    return np.where(is_open, _TOO_LONG, values), ends
