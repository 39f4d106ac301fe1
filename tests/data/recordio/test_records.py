from __future__ import annotations

from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from common.errors import UserError
from data.recordio.records import (
    MAGIC,
    ImageHeader,
    RecordReader,
    RecordWriter,
    pack_record,
    read_index,
    unpack_record,
    write_index,
)

MAGIC_BYTES = MAGIC.to_bytes(4, "little")
PAYLOADS = [
    b"a",
    b"abcd",
    b"hello",
    MAGIC_BYTES,
    MAGIC_BYTES * 3,
    b"abcd" + MAGIC_BYTES + b"efgh",
    b"abcd" + MAGIC_BYTES + b"efgh" + MAGIC_BYTES + b"xy",
    b"ab" + MAGIC_BYTES + b"not at a multiple of four",
    b"abc" + MAGIC_BYTES + b"x" + MAGIC_BYTES + b"tail",
    b"abcd" + MAGIC_BYTES[:3],
    MAGIC_BYTES[:2] + MAGIC_BYTES + MAGIC_BYTES[2:] + MAGIC_BYTES,
]


def write_ours(path: Path, payloads: list[bytes]) -> list[int]:
    with open(path, "wb") as handle:
        writer = RecordWriter(handle)
        return [writer.write(payload) for payload in payloads]


def write_mxnet(path: Path, payloads: list[bytes]) -> None:
    writer = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "w")
    for key, payload in enumerate(payloads):
        writer.write_idx(key, payload)
    writer.close()


def test_files_are_byte_identical_to_mxnet(tmp_path: Path) -> None:
    offsets = write_ours(tmp_path / "ours.rec", PAYLOADS)
    with open(tmp_path / "ours.idx", "wb") as handle:
        write_index(handle, range(len(offsets)), offsets)
    write_mxnet(tmp_path / "theirs.rec", PAYLOADS)
    assert (tmp_path / "ours.rec").read_bytes() == (tmp_path / "theirs.rec").read_bytes()
    assert (tmp_path / "ours.idx").read_bytes() == (tmp_path / "theirs.idx").read_bytes()


def test_reads_what_mxnet_wrote(tmp_path: Path) -> None:
    write_mxnet(tmp_path / "a.rec", PAYLOADS)
    keys, offsets = read_index(tmp_path / "a.idx")
    assert keys.tolist() == list(range(len(PAYLOADS)))
    with RecordReader(tmp_path / "a.rec") as reader:
        assert [reader.read(offset) for offset in offsets.tolist()] == PAYLOADS
        assert list(reader.scan()) == list(zip(offsets.tolist(), PAYLOADS, strict=True))


def test_mxnet_reads_what_we_wrote(tmp_path: Path) -> None:
    write_ours(tmp_path / "a.rec", PAYLOADS)
    reader = mx.recordio.MXRecordIO(str(tmp_path / "a.rec"), "r")
    assert [reader.read() for _ in PAYLOADS] == PAYLOADS
    assert reader.read() is None


@pytest.mark.parametrize("labels", [(14.0,), (3.0, 1.0), (1.0, 2.0, 3.5)])
def test_headers_agree_with_mxnet(labels: tuple[float, ...]) -> None:
    label = labels[0] if len(labels) == 1 else np.array(labels, np.float32)
    theirs = mx.recordio.pack(mx.recordio.IRHeader(0, label, 7, 9), b"image")
    assert pack_record(ImageHeader(labels, 7, 9), b"image") == theirs
    assert unpack_record(theirs) == (ImageHeader(labels, 7, 9), b"image")
    header, image = mx.recordio.unpack(pack_record(ImageHeader(labels, 7, 9), b"image"))
    assert np.atleast_1d(header.label).tolist() == list(labels) and image == b"image"


def test_short_payloads_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        unpack_record(b"short")
    with pytest.raises(ValueError, match="2 labels"):
        unpack_record(pack_record(ImageHeader((1.0, 2.0)))[:-1])


@pytest.mark.parametrize("cut", [1, 4, 9, 30])
def test_truncation_names_file_and_offset(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.rec"
    offsets = write_ours(path, [b"x" * 100, b"y" * 20])
    path.write_bytes(path.read_bytes()[:-cut])
    expected = offsets[1] if cut < 28 else 0
    with RecordReader(path) as reader, pytest.raises(UserError, match=rf"a\.rec: truncated.* byte {expected}\b"):
        list(reader.scan())


def test_bad_magic_names_file_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    offsets = write_ours(path, [b"x" * 100, b"y" * 20])
    data = bytearray(path.read_bytes())
    data[offsets[1]] ^= 1
    path.write_bytes(data)
    with RecordReader(path) as reader:
        with pytest.raises(UserError, match=rf"a\.rec: no RecordIO record at byte {offsets[1]} "):
            list(reader.scan())
        with pytest.raises(UserError, match="at byte 4 "):
            reader.read(4)


@pytest.mark.parametrize("text", ["", "1\t2\t3\n", "1\tx\n", "key\toffset\n"])
def test_bad_index_files(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.idx").write_text(text)
    with pytest.raises(UserError, match=r"a\.idx.*key<TAB>offset"):
        read_index(tmp_path / "a.idx")
