from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import message

from data.ofrecord.encoding import bytes_after, bytes_before, record_lengths
from data.ofrecord.records import encode_train_record, ofrecord_class


def protobuf(encoded: bytes, name: str, number: int) -> message.Message:
    record = ofrecord_class()()
    record.feature["encoded"].bytes_list.value.append(encoded)
    record.feature[name].int32_list.value.append(number)
    return record


# Around the lengths at which one of the four nested lengths takes a byte more.
LENGTHS = [0, 1, *range(95, 131), *range(16340, 16390), (1 << 21) - 40, (1 << 21) - 20, 1 << 21]


@pytest.mark.parametrize("number", [0, 127, 128, 16383, 16384, 93430, (1 << 31) - 1, -1, -(1 << 31)])
def test_the_bytes_are_those_of_protobuf(number: int) -> None:
    for name in ("label", "issame"):
        for length in LENGTHS if number < 128 else LENGTHS[:3]:
            encoded, after = b"\xff" * length, bytes_after(name, number)
            expected = protobuf(encoded, name, number).SerializeToString(deterministic=True)
            before = bytes_before(length, len(after))
            assert before[8:] + encoded + after == expected
            assert int.from_bytes(before[:8], "little") == len(expected)


@pytest.mark.parametrize("number", [1 << 31, -(1 << 31) - 1])
def test_numbers_beyond_int32_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match="does not fit int32"):
        encode_train_record(b"", number)


def test_lengths_of_records() -> None:
    """At and around the lengths at which a varint takes one byte more, at each level of the message."""
    lengths = np.unique(
        [max(limit - back, 0) for limit in (1, 1 << 7, 1 << 14, 1 << 21, 1 << 28) for back in range(30)]
    )
    for number in (0, 127, 128, 1 << 14, (1 << 31) - 1):
        after = len(bytes_after("label", number))
        expected = [len(bytes_before(length, after)) + length + after for length in lengths.tolist()]
        assert record_lengths(lengths, "label", np.full(len(lengths), number)).tolist() == expected
