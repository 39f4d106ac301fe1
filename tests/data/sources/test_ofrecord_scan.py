"""The scan of parts finds what the messages say, in whatever segments, and stops at the first damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.ofrecord.records import encode_train_record, locate_train_image, ofrecord_class, read_part, write_record
from data.sources.ofrecord_scan import scan_part
from data.sources.record_scan import RECORD, Segment, scan_files

RNG = np.random.default_rng(5)


def make_record(number: int, label_first: bool, kind: str = "int32_list", more: bool = False) -> bytes:
    """Return a record by the message class, or with its features in the order that maps do not promise."""
    image, label = RNG.bytes(int(RNG.integers(1, 500))), int(RNG.integers(0, 1 << number % 32))
    record = ofrecord_class()()
    if more:
        record.feature["a_name"].bytes_list.value.append(b"someone")
    record.feature["encoded"].bytes_list.value.append(image)
    getattr(record.feature["label"], kind).value.extend([label, 7] if more else [label])
    whole = record.SerializeToString(deterministic=True)
    if not label_first:
        return whole
    single = ofrecord_class()()
    single.feature["label"].CopyFrom(record.feature["label"])
    entry = single.SerializeToString()
    assert whole.endswith(entry)
    return entry + whole[: -len(entry)]


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parts") / "part-00000"
    inner = encode_train_record(b"an image in an image", 3)
    with open(path, "wb") as handle:
        for number in range(200):
            kind = "int64_list" if number % 3 == 0 else "int32_list"
            write_record(handle, make_record(number, number % 2 == 0, kind, number % 11 == 0))
        for size in (1, 3):  # what looks like records within an image
            write_record(handle, encode_train_record((len(inner).to_bytes(8, "little") + inner) * size, 9))
        write_record(handle, make_record(4, False))
    return path


def parse(path: Path) -> np.ndarray:
    """Return the records by the message class."""
    rows = []
    for offset, payload in read_part(path):
        begin, length, label = locate_train_image(payload)
        rows.append((offset, 8 + begin, length, label))
    return np.array(rows, RECORD)


@pytest.mark.parametrize("segment_bytes", [64 << 20, 10_000, 700, 97])
def test_any_segments_give_what_the_messages_say(part: Path, segment_bytes: int) -> None:
    np.testing.assert_array_equal(scan_files(scan_part, [part], segment_bytes)[0], parse(part))


def test_processes_give_the_same(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.sources.record_scan._BYTES_PER_PROCESS", 10_000)
    monkeypatch.setattr("data.sources.record_scan.available_cpus", lambda: 2)
    empty = part.with_name("part-00001")
    empty.touch()
    twin = part.with_name("part-00002")
    twin.write_bytes(part.read_bytes())
    first, second, third = scan_files(scan_part, [part, empty, twin], 20_000)
    np.testing.assert_array_equal(first, parse(part))
    assert len(second) == 0 and third.tobytes() == first.tobytes()


def test_a_record_of_the_usual_form_needs_no_message(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = parse(part)
    parsed = []
    monkeypatch.setattr(
        "data.sources.ofrecord_scan.locate_train_image", lambda p: parsed.append(p) or locate_train_image(p)
    )
    np.testing.assert_array_equal(scan_files(scan_part, [part])[0], expected)
    assert len(parsed) == len(range(0, 200, 11))


@pytest.mark.parametrize("segment_bytes", [64 << 20, 900])
@pytest.mark.parametrize("place", [0, 5, 180])
def test_damage_is_named_where_it_is(part: Path, tmp_path: Path, place: int, segment_bytes: int) -> None:
    offset = int(parse(part)["offset"][place])
    data = bytearray(part.read_bytes())
    damages = {
        "holds the length -1": (offset, b"\xff" * 8),
        "holds the length 281474976710655": (offset, b"\xff" * 6 + b"\0\0"),
        "that are not an OFRecord": (offset + 8, b"\xff\xff"),
        "expected 'encoded' and 'label'": (data.index(b"encoded", offset), b"decoded"),
    }
    copy = tmp_path / "part-00000"
    for message, (at, damage) in damages.items():
        copy.write_bytes(data[:at] + damage + data[at + len(damage) :])
        with pytest.raises(UserError, match=rf"part-00000: (record at )?byte {offset}\b.*{message}"):
            scan_files(scan_part, [copy], segment_bytes)


@pytest.mark.parametrize("cut", [1, 7, 8, 60])
def test_a_truncated_part_is_damaged(part: Path, tmp_path: Path, cut: int) -> None:
    records = parse(part)
    copy = tmp_path / "part-00000"
    offset = int(records["offset"][100])
    copy.write_bytes(part.read_bytes()[: offset + cut])
    for segment_bytes in (64 << 20, 900):
        with pytest.raises(UserError, match=f"byte {offset} holds"):
            scan_files(scan_part, [copy], segment_bytes)


def test_the_next_record_is_found_from_any_byte(tmp_path: Path) -> None:
    path = tmp_path / "part-00000"
    with open(path, "wb") as handle:
        for number in range(30):
            write_record(handle, make_record(number, number % 2 == 0))
    offsets = [*parse(path)["offset"].tolist(), path.stat().st_size]
    for begin in range(0, offsets[-1], 29):
        scan = scan_part(Segment(path, begin, offsets[-1], False))
        assert scan.first == min(offset for offset in offsets if offset >= begin) and scan.damage is None
