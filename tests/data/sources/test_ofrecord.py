from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.image import decode_image, encode_jpeg
from data.ofrecord.records import encode_train_record, encode_verification_record, list_parts, write_record
from data.sources.ofrecord import INDEX_FILE, OFRecordSource, open_part_index
from data.sources.synthetic import SyntheticSource


def write_parts(folder: Path, sizes: list[int]) -> list[tuple[bytes, int]]:
    source = SyntheticSource(sum(sizes), 5)
    records = [(encode_jpeg(image), label) for image, label in map(source.read, range(len(source)))]
    remaining = iter(records)
    for number, size in enumerate(sizes):
        with open(folder / f"part-{number:05d}", "wb") as handle:
            for _ in range(size):
                write_record(handle, encode_train_record(*next(remaining)))
    return records


def make_places(count: int) -> list[np.ndarray]:
    return list(np.empty((count, 112, 112, 3), np.uint8))


def test_images_go_straight_to_their_places(tmp_path: Path) -> None:
    write_parts(tmp_path, [3, 2])
    source, places = OFRecordSource(tmp_path, num_classes=5), make_places(5)
    images = source.fetch(source.locate(np.arange(5)[::-1]), places)
    assert all(image is place for image, place in zip(images, places, strict=True))


def test_the_bad_one_of_many_is_named(tmp_path: Path) -> None:
    write_parts(tmp_path, [2, 2])
    source = OFRecordSource(tmp_path, num_classes=5)
    locations = source.locate(np.arange(4))
    part, offset, begin, _ = locations[2]
    with open(tmp_path / f"part-{part:05d}", "r+b") as handle:
        handle.seek(begin)
        handle.write(b"no JPEG")
    with pytest.raises(UserError, match=rf"part-00001: record at byte {offset}: .*cannot be decoded"):
        source.fetch(locations, make_places(4))


def test_reads_every_record_over_parts_of_any_size(tmp_path: Path) -> None:
    records = write_parts(tmp_path, [3, 0, 1, 4, 0])
    source = OFRecordSource(tmp_path, num_classes=5)
    assert len(source) == 8
    for index, (encoded, label) in enumerate(records):
        image, found = source.read(index)
        np.testing.assert_array_equal(image, decode_image(encoded))
        assert found == label


def test_a_pickled_source_fetches_but_carries_no_index(tmp_path: Path) -> None:
    write_parts(tmp_path, [4, 4])
    source = OFRecordSource(tmp_path, num_classes=5)
    copy = pickle.loads(pickle.dumps(source))
    location = source.locate(np.array([6]))
    np.testing.assert_array_equal(copy.fetch(location, make_places(1))[0], source.read(6)[0])
    for ask in (copy.locate, copy.labels):
        with pytest.raises(RuntimeError):
            ask(np.array([6]))


def test_a_part_cut_short_after_it_was_indexed_is_noticed(tmp_path: Path) -> None:
    write_parts(tmp_path, [3])
    source = OFRecordSource(tmp_path, num_classes=5)
    part = tmp_path / "part-00000"
    os.truncate(part, part.stat().st_size - 100)
    offset = source.locate(np.array([2]))[0, 1]
    with pytest.raises(UserError, match=rf"part-00000: record at byte {offset}: the file was cut since .*: \d+ of \d+"):
        source.read(2)
    source.read(1)


def test_labels_and_places_of_many_images_at_once(tmp_path: Path) -> None:
    records = write_parts(tmp_path, [3, 0, 4])
    source = OFRecordSource(tmp_path, num_classes=5)
    indices = np.array([6, 0, 3, 3, 2])
    labels = source.labels(indices)
    assert labels.dtype == np.int32 and labels.tolist() == [records[i][1] for i in indices]
    for index, (part, offset, begin, length) in zip(indices, source.locate(indices).tolist(), strict=True):
        data = (tmp_path / f"part-{part:05d}").read_bytes()
        assert data[begin : begin + length] == records[index][0] and 8 < begin - offset < 40
    for image, index in zip(source.fetch(source.locate(indices), make_places(5)), indices, strict=True):
        np.testing.assert_array_equal(image, decode_image(records[index][0]))


def test_index_is_kept_and_rebuilt_when_a_part_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parts(tmp_path, [2, 3])
    parts = list_parts(tmp_path)
    built = open_part_index(parts)
    with monkeypatch.context() as patch:
        patch.setattr("data.sources.ofrecord.scan_files", lambda *_: pytest.fail("the stored index was not used"))
        stored = open_part_index(parts)
    np.testing.assert_array_equal(stored.records, built.records)
    np.testing.assert_array_equal(stored.starts, [0, 2, 5])
    with open(parts[0], "ab") as handle:
        write_record(handle, encode_train_record(b"more", 0))
    assert len(open_part_index(parts)) == 6


@pytest.mark.parametrize("damage", [lambda data: data[:-8], lambda data: b"nonsense", lambda data: b"[]\n" + data])
def test_a_damaged_index_is_rebuilt(tmp_path: Path, damage: object) -> None:
    write_parts(tmp_path, [2, 3])
    parts = list_parts(tmp_path)
    records = np.array(open_part_index(parts).records)
    (tmp_path / INDEX_FILE).write_bytes(damage((tmp_path / INDEX_FILE).read_bytes()))
    np.testing.assert_array_equal(open_part_index(parts).records, records)


def test_a_folder_that_cannot_be_written_to_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parts(tmp_path, [2])
    monkeypatch.setattr("common.files.temporary_path", lambda path: path / "nowhere")
    assert len(OFRecordSource(tmp_path, num_classes=5)) == 2
    assert os.listdir(tmp_path) == ["part-00000"]


def test_empty_parts_and_truncated_parts(tmp_path: Path) -> None:
    (tmp_path / "part-00000").touch()
    with pytest.raises(UserError, match="are all empty"):
        OFRecordSource(tmp_path, num_classes=5)
    write_parts(tmp_path, [3])
    part = tmp_path / "part-00000"
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"part-00000: byte \d+ holds the length"):
        OFRecordSource(tmp_path, num_classes=5)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (encode_train_record(b"no jpeg", 1), "cannot be decoded"),
        (encode_train_record(encode_jpeg(np.zeros((64, 64, 3), np.uint8)), 1), "64x64 pixels, expected 112x112"),
        (encode_verification_record(b"", True), "expected 'encoded' and 'label'"),
        (b"\xff\xff", "not an OFRecord"),
        (encode_train_record(encode_jpeg(np.zeros((112, 112, 3), np.uint8)), 5), "label 5, .* num_classes 5"),
        (encode_train_record(encode_jpeg(np.zeros((112, 112, 3), np.uint8)), -1), "label -1"),
    ],
)
def test_bad_records_name_part_and_offset(tmp_path: Path, payload: bytes, message: str) -> None:
    write_parts(tmp_path, [1, 2])
    offset = (tmp_path / "part-00001").stat().st_size
    with open(tmp_path / "part-00001", "ab") as handle:
        write_record(handle, payload)
    with pytest.raises(UserError, match=rf"part-00001: record at byte {offset}: .*{message}"):
        OFRecordSource(tmp_path, num_classes=5).read(3)
