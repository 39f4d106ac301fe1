from __future__ import annotations

import pytest
from google.protobuf import message

from data.ofrecord.encoding import bytes_after, bytes_before
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
