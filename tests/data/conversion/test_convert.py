from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.conversion import parts as convert_parts
from data.conversion.convert import convert_bin, convert_recordio
from data.image import encode_jpeg
from data.ofrecord.records import decode_train_record, encode_train_record, list_parts, read_part
from data.recordio.dataset import open_recordio
from data.recordio.options import RecordIOOptions
from data.recordio.property import Property
from data.recordio.records import MAGIC_BYTES
from data.rejected import REJECTED_FILE
from data.sources.synthetic import SyntheticSource
from data.verification.bin_file import write_bin
from snapshots.label_map import read_label_map
from tests.support.recordio_sets import write_set

SIZE = 16
CLASSES = 30
ROOT = Path(__file__).resolve().parents[3]


def make_images(count: int) -> list[bytes]:
    source = SyntheticSource(count, CLASSES, image_size=SIZE)
    return [encode_jpeg(source.read(number)[0]) for number in range(count)]


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return make_images(300)


def read_parts(folder: Path) -> list[tuple[bytes, int]]:
    return [decode_train_record(payload) for part in list_parts(folder) for _, payload in read_part(part)]


def damage(images: list[bytes]) -> list[bytes]:
    """Three bad pictures among 300: no picture, an empty one, another size."""
    bad = list(images)
    bad[17], bad[150], bad[299] = b"no picture", b"", encode_jpeg(np.zeros((SIZE, SIZE + 1, 3), np.uint8))
    return bad


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("seed", [None, 5])
def test_parts_hold_the_same_bytes_whatever_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: list[bytes], workers: int, seed: int | None
) -> None:
    monkeypatch.setattr(convert_parts, "_CALL", 8)
    monkeypatch.setattr(convert_parts, "_STRETCH", 24)
    labels = [number % CLASSES for number in range(300)]
    # The second is written in pieces, where it contains the magic; the last ends with it.
    images = [
        images[0],
        images[1] + b"\0" * (-len(images[1]) % 4) + MAGIC_BYTES + b"x",
        *images[2:-1],
        images[-1] + MAGIC_BYTES,
    ]
    write_set(tmp_path / "rec", labels, images, Property(CLASSES, SIZE, SIZE))
    convert_recordio(tmp_path / "rec", tmp_path / "out", 4, seed, RecordIOOptions(num_workers=workers))
    order = np.arange(300) if seed is None else np.random.Generator(np.random.Philox(seed)).permutation(300)
    for part, rows in zip(list_parts(tmp_path / "out", 4), np.array_split(order, 4), strict=True):
        payloads = [encode_train_record(images[row], labels[row]) for row in rows]
        assert part.read_bytes() == b"".join(len(each).to_bytes(8, "little") + each for each in payloads)


def test_bad_images_are_listed_in_one_go(tmp_path: Path, images: list[bytes]) -> None:
    write_set(tmp_path / "rec", [n % CLASSES for n in range(300)], damage(images), Property(CLASSES, SIZE, SIZE))
    with pytest.raises(UserError) as raised:
        convert_recordio(tmp_path / "rec", tmp_path / "out", options=RecordIOOptions(num_workers=2))
    lines = str(raised.value).splitlines()
    assert "3 of 300 images are bad (2 not decodable, 1 wrong size); --skip_bad 1 leaves them out" in lines[0]
    assert "; images of other sizes: tools/dataset_convert/recordio_2_folder.py writes them out" in lines[0]
    assert [line.split(" at byte")[0] for line in lines[1:]] == [f"train.rec, key {key}" for key in (17, 150, 299)]
    assert "10 bytes that cannot be decoded" in lines[1] and "the image is empty" in lines[2]
    assert f"the image is {SIZE + 1}x{SIZE} pixels, expected {SIZE}x{SIZE}" in lines[3]
    assert [path.name for path in tmp_path.iterdir()] == ["rec"]
    convert_recordio(tmp_path / "rec", tmp_path / "out", options=RecordIOOptions(decode=False))
    assert len(read_parts(tmp_path / "out")) == 300


def test_bad_images_are_left_out_and_listed(
    tmp_path: Path, images: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    labels = [n % CLASSES for n in range(300)]
    bad = damage(images)
    offsets = write_set(tmp_path / "rec", labels, bad, Property(CLASSES, SIZE, SIZE))
    data = bytearray((tmp_path / "rec/train.rec").read_bytes())
    data[offsets[200]] ^= 1
    (tmp_path / "rec/train.rec").write_bytes(data)
    with pytest.raises(UserError, match=rf"not a record .*, bytes {offsets[200]} to {offsets[201]}; .*--skip_bad 1"):
        convert_recordio(tmp_path / "rec", tmp_path / "out")
    info = convert_recordio(tmp_path / "rec", tmp_path / "out", 3, 0, RecordIOOptions(skip_bad=True, num_workers=2))
    left = [row for row in range(300) if row not in (17, 150, 200, 299)]
    assert sorted(read_parts(tmp_path / "out")) == sorted((images[row], labels[row]) for row in left)
    assert info["num_images"] == 296
    with open(tmp_path / "out" / REJECTED_FILE, newline="") as handle:
        rows = list(csv.reader(handle))
    assert [row[:2] for row in rows] == [
        ["file", "reason"],
        [f"train.rec, bytes {offsets[200]} to {offsets[201]}", "damaged record"],
        [f"train.rec, key 17 at byte {offsets[17]}", "not decodable"],
        [f"train.rec, key 150 at byte {offsets[150]}", "not decodable"],
        [f"train.rec, key 299 at byte {offsets[299]}", "wrong size"],
    ]
    assert "4 images left out (2 not decodable, 1 damaged record, 1 wrong size), listed in rejected.csv" in caplog.text


def test_no_good_image_is_an_error(tmp_path: Path) -> None:
    write_set(tmp_path / "rec", [0] * 25, [b"bad"] * 25, Property(1, SIZE, SIZE))
    with pytest.raises(UserError, match="25 of 25 images are bad") as raised:
        convert_recordio(tmp_path / "rec", tmp_path / "out", options=RecordIOOptions(skip_bad=True))
    assert str(raised.value).splitlines()[-1] == "... and 5 more bad images" and not (tmp_path / "out").exists()


def test_a_person_who_loses_all_images_is_said(
    tmp_path: Path, images: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    write_set(tmp_path / "rec", [0, 1, 2], [images[0], b"bad", images[2]], Property(3, SIZE, SIZE))
    info = convert_recordio(tmp_path / "rec", tmp_path / "out", options=RecordIOOptions(skip_bad=True))
    assert info["num_classes"] == 3 and "1 of the 3 classes are left without an image" in caplog.text


def test_renumbered_labels_come_with_their_map(tmp_path: Path, images: list[bytes]) -> None:
    write_set(tmp_path / "rec", [70, 7000, 70, 4], images[:4], None)
    with pytest.raises(UserError, match="the highest label is 7000, but the images show 3; --renumber_labels 1"):
        convert_recordio(tmp_path / "rec", tmp_path / "out")
    info = convert_recordio(tmp_path / "rec", tmp_path / "out", options=RecordIOOptions(renumber_labels=True))
    assert read_parts(tmp_path / "out") == list(zip(images[:4], [1, 2, 1, 0], strict=True))
    assert info["num_classes"] == 3
    label_map = read_label_map(tmp_path / "out" / "label_map.txt")
    assert (label_map.old.tolist(), label_map.new.tolist()) == ([4, 70, 7000], [0, 1, 2])


def test_a_disk_without_room_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: list[bytes]
) -> None:
    write_set(tmp_path / "rec", [0, 1], images[:2], Property(2, SIZE, SIZE))
    write_bin(tmp_path / "a.bin", images[:2], [True])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1000, 1000, 0))
    for convert, source in ((convert_recordio, tmp_path / "rec"), (convert_bin, tmp_path / "a.bin")):
        with pytest.raises(UserError, match="out needs .* MB, but its disk has 0.00 MB free"):
            convert(source, tmp_path / "out")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tmp_path: Path, images: list[bytes], workers: int) -> None:
    write_set(tmp_path / "rec", [n % CLASSES for n in range(300)], images, Property(CLASSES, SIZE, SIZE))
    program = (
        "import resource, sys; sys.path.insert(0, sys.argv[1]); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "  # the next write fails with EFBIG
        "from common.errors import run_command; from data.conversion.convert import convert_recordio; "
        "from data.recordio.options import RecordIOOptions; "
        "run_command(lambda: convert_recordio(*sys.argv[2:4], "
        "options=RecordIOOptions(num_workers=int(sys.argv[4]))) and None)"
    )
    command = [sys.executable, "-c", program, str(ROOT), str(tmp_path / "rec"), str(tmp_path / "out"), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: {tmp_path}/out cannot be written (File too large); raise the limit on the size of files (ulimit -f)"
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["rec"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_becomes_unreadable_is_one_line(tmp_path: Path, images: list[bytes], workers: int) -> None:
    write_set(tmp_path / "rec", [n % CLASSES for n in range(300)], images, Property(CLASSES, SIZE, SIZE))
    table = open_recordio(tmp_path / "rec")
    os.truncate(table.path, 40960)
    with pytest.raises(UserError, match=r"train\.rec cannot be read: its disk reports an error"):
        convert_parts.write_parts(table, [tmp_path / "part"], [np.arange(300)], workers)


def test_bad_images_of_a_verification_set_are_listed(tmp_path: Path, images: list[bytes]) -> None:
    write_bin(tmp_path / "a.bin", [images[0], b"bad", b"bad", images[1]], [True, False])
    with pytest.raises(UserError) as raised:
        convert_bin(tmp_path / "a.bin", tmp_path / "out", num_workers=2)
    assert [line.split(": ", 1)[-1][:40] for line in str(raised.value).splitlines()] == [
        "2 of 4 images cannot be decoded",
        "3 bytes that cannot be decoded as an ima",
        "3 bytes that cannot be decoded as an ima",
    ]
    assert not (tmp_path / "out").exists()
    assert convert_bin(tmp_path / "a.bin", tmp_path / "out", decode=False)["num_images"] == 4
