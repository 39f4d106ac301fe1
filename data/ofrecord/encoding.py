"""The bytes before and after the image in a serialized ``OFRecord``, which depend on little and are computed once.

A record is a map of two features in the order of their names: ``encoded`` (a list of one bytes value) and a number (a
list of one int32), the same bytes that protobuf writes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# Protobuf tags: the number of a field times 8, plus 2 for values of stated length.
_FIRST, _SECOND, _INT32_LIST = b"\x0a", b"\x12", b"\x22"
_KEY = _FIRST + b"\x07encoded"
_INT32 = range(-(1 << 31), 1 << 31)


@lru_cache(1 << 16)
def bytes_before(image_length: int, length_after: int) -> bytes:
    """Return what precedes an image of ``image_length`` bytes if ``length_after`` bytes follow it: the record's length
    (int64, little-endian) and the beginning of the record."""
    head = _FIRST + _varint(image_length)
    head = _FIRST + _varint(len(head) + image_length) + head
    head = _KEY + _SECOND + _varint(len(head) + image_length) + head
    head = _FIRST + _varint(len(head) + image_length) + head
    return (len(head) + image_length + length_after).to_bytes(8, "little") + head


@lru_cache(1 << 16)
def bytes_after(name: str, number: int) -> bytes:
    """Return what follows the image: the feature ``name`` (which sorts after ``encoded``) with one int32.

    Raises:
        ValueError: ``number`` does not fit int32.
    """
    if number not in _INT32:
        raise ValueError(f"{number} does not fit int32")
    value = _varint(number & (1 << 64) - 1)
    feature = _message(_INT32_LIST, _message(_FIRST, value))
    return _message(_FIRST, _message(_FIRST, name.encode()) + _message(_SECOND, feature))


def record_lengths(image_lengths: np.ndarray, name: str, numbers: np.ndarray) -> np.ndarray:
    """Return the bytes of whole records, int64 [N]: of ``bytes_before``, the image and ``bytes_after``.

    Args:
        image_lengths: integers [N].
        name: the feature after the image.
        numbers: its values, integers [N], 0 or more.
    """
    lengths = image_lengths.astype(np.int64)
    for others in (0, 0, len(_KEY), 0):
        lengths += 1 + _varint_lengths(lengths) + others
    return 8 + lengths + len(bytes_after(name, 0)) - 1 + _varint_lengths(numbers)


def _varint_lengths(numbers: np.ndarray) -> np.ndarray:
    return 1 + np.searchsorted([1 << 7, 1 << 14, 1 << 21, 1 << 28], numbers, side="right")


def _message(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Return a number >= 0 in groups of 7 bits, the lowest first."""
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    groups.append(number)
    return bytes(groups)
