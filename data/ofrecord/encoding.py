"""The bytes before and after the image in a serialized ``OFRecord``, which depend on little and are computed once.

A record is a map of two features in the order of their names: ``encoded`` (a list of one bytes value) and a number (a
list of one int32), the same bytes that protobuf writes.
"""

from __future__ import annotations

from functools import lru_cache

# Protobuf tags: the number of a field times 8, plus 2 for values of stated length.
_FIRST, _SECOND, _INT32_LIST = b"\x0a", b"\x12", b"\x22"
_INT32 = range(-(1 << 31), 1 << 31)


@lru_cache(1 << 16)
def bytes_before(image_length: int, length_after: int) -> bytes:
    """Return what precedes an image of ``image_length`` bytes if ``length_after`` bytes follow it: the record's length
    (int64, little-endian) and the beginning of the record."""
    head = _FIRST + _varint(image_length)
    head = _FIRST + _varint(len(head) + image_length) + head
    head = _FIRST + _varint(7) + b"encoded" + _SECOND + _varint(len(head) + image_length) + head
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
