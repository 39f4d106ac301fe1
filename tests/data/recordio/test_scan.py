from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.recordio.records import MAGIC_BYTES, ImageHeader, RecordWriter, pack_record, unpack_span
from data.recordio.scan import scan_records

IMAGE = b"abcdefgh" + MAGIC_BYTES + b"tail"  # written in two pieces
RECORDS = [
    ((3.0,), b"an image"),
    ((1.0, 2.0), b""),
    ((4.0, 1.0, 0.5), b"x"),
    ((5.0,), IMAGE),
    ((6.0, 1.0), IMAGE + IMAGE),
    ((7.0,), b""),
    ((8.0,), b"the last one"),
]


def write(path: Path) -> list[int]:
    with open(path, "wb") as handle:
        writer = RecordWriter(handle)
        return [writer.write(pack_record(ImageHeader(labels, 9), image)) for labels, image in RECORDS]


def images_of(path: Path) -> list[bytes]:
    """The images that the table locates."""
    table, data = scan_records(path), path.read_bytes()
    images = []
    for offset, start, length in zip(table.offsets, table.starts, table.lengths, strict=True):
        span = data[offset + start : offset + start + length]
        images.append(span if start else unpack_span(span)[1])
    return images


def test_all_records_and_their_headers_are_found(tmp_path: Path) -> None:
    offsets = write(tmp_path / "a.rec")
    table = scan_records(tmp_path / "a.rec")
    assert table.offsets.tolist() == offsets and not table.damage
    assert table.size == (tmp_path / "a.rec").stat().st_size
    assert table.counts.tolist() == [len(labels) for labels, _ in RECORDS]
    assert table.has_image.tolist() == [bool(image) for _, image in RECORDS]
    first_two = [(*labels, np.nan)[:2] for labels, _ in RECORDS]
    np.testing.assert_array_equal(table.labels, np.array(first_two, np.float32))
    assert images_of(tmp_path / "a.rec") == [image for _, image in RECORDS]
    assert (table.starts == 0).tolist() == [MAGIC_BYTES in image for _, image in RECORDS]


def test_a_magic_within_the_header_is_put_back(tmp_path: Path) -> None:
    number = int.from_bytes(MAGIC_BYTES, "little")
    with open(tmp_path / "a.rec", "wb") as handle:
        RecordWriter(handle).write(pack_record(ImageHeader((2.0,), number), b"image"))
    table = scan_records(tmp_path / "a.rec")
    assert (table.labels[0, 0], len(table), table.damage) == (2.0, 1, ())
    assert images_of(tmp_path / "a.rec") == [b"image"]


@pytest.mark.parametrize("number", range(len(RECORDS)))
def test_a_damaged_magic_loses_one_record(tmp_path: Path, number: int) -> None:
    offsets = write(tmp_path / "a.rec")
    data = bytearray((tmp_path / "a.rec").read_bytes())
    data[offsets[number]] ^= 1
    (tmp_path / "a.rec").write_bytes(data)
    table = scan_records(tmp_path / "a.rec")
    assert table.offsets.tolist() == [offset for i, offset in enumerate(offsets) if i != number]
    begin, end = offsets[number], [*offsets, len(data)][number + 1]
    assert (table.damage[0].begin, table.damage[-1].end) == (begin, end)


@pytest.mark.parametrize("change", [1 << 6, 1 << 20, 1 << 28])
def test_a_length_too_large_loses_one_record(tmp_path: Path, change: int) -> None:
    offsets = write(tmp_path / "a.rec")
    data = bytearray((tmp_path / "a.rec").read_bytes())
    data[offsets[2] + 4 : offsets[2] + 8] = (
        int.from_bytes(data[offsets[2] + 4 : offsets[2] + 8], "little") + change
    ).to_bytes(4, "little")
    (tmp_path / "a.rec").write_bytes(data)
    table = scan_records(tmp_path / "a.rec")
    assert table.offsets.tolist() == [*offsets[:2], *offsets[3:]]
    assert [(place.begin, place.end) for place in table.damage] == [(offsets[2], offsets[3])]


def test_a_file_cut_anywhere_keeps_the_whole_records(tmp_path: Path) -> None:
    write(tmp_path / "a.rec")
    data, table = (tmp_path / "a.rec").read_bytes(), scan_records(tmp_path / "a.rec")
    begins = table.offsets.tolist()
    ends = (table.offsets + table.starts + table.lengths).tolist()  # the zeros that fill up 4 bytes may be missing
    for size in range(1, len(data)):
        (tmp_path / "cut.rec").write_bytes(data[:size])
        cut = scan_records(tmp_path / "cut.rec")
        assert cut.offsets.tolist() == [begin for begin, end in zip(begins, ends, strict=True) if end <= size]
        within = [begin for begin, end in zip(begins, ends, strict=True) if begin < size < end]
        if within:
            assert (cut.damage[0].begin, cut.damage[-1].end) == (within[0], size)
        else:
            assert not cut.damage


def test_headers_that_do_not_fit_are_damage(tmp_path: Path) -> None:
    with open(tmp_path / "a.rec", "wb") as handle:
        writer = RecordWriter(handle)
        for payload in (
            b"short",
            pack_record(ImageHeader((1.0, 2.0)))[:-4],
            pack_record(ImageHeader((1.0,)), b"image"),
        ):
            writer.write(payload)
    table = scan_records(tmp_path / "a.rec")
    assert len(table) == 1
    assert [place.reason for place in table.damage] == [
        "5 bytes, too few for an image header",
        "the header announces 2 labels, but the record ends after 28 bytes",
    ]


def test_an_empty_or_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.rec cannot be read: No such file"):
        scan_records(tmp_path / "a.rec")
    (tmp_path / "a.rec").touch()
    with pytest.raises(UserError, match=r"a\.rec is empty"):
        scan_records(tmp_path / "a.rec")
