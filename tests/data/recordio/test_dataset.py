from __future__ import annotations

import logging
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from common.errors import UserError
from data.recordio.dataset import open_recordio
from data.recordio.property import Property, read_property, write_property
from data.recordio.writer import write_insightface_recordio

IMAGES = [(b"image-%d of some length" % i, label) for i, label in enumerate([0, 0, 0, 1, 2, 2])]


def write_with_mxnet(folder: Path, records: list[tuple[int, object, bytes]]) -> None:
    """Records are (key, label or labels, image); ``property`` saves a look at the images, which are none."""
    write_property(folder, Property(3, 112, 112))
    writer = mx.recordio.MXIndexedRecordIO(str(folder / "train.idx"), str(folder / "train.rec"), "w")
    for key, label, image in records:
        writer.write_idx(key, mx.recordio.pack(mx.recordio.IRHeader(0, label, key, 0), image))
    writer.close()


def insightface_records() -> list[tuple[int, object, bytes]]:
    images = [(key, float(label), image) for key, (image, label) in enumerate(IMAGES, start=1)]
    return [*images, (7, [1.0, 4.0], b""), (8, [4.0, 5.0], b""), (9, [5.0, 7.0], b""), (0, [7.0, 10.0], b"")]


def test_insightface_layout(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_with_mxnet(tmp_path, insightface_records())
    images = open_recordio(tmp_path)
    assert images.keys.tolist() == [1, 2, 3, 4, 5, 6]
    assert list(images.read()) == IMAGES
    assert images.property == Property(3, 112, 112)
    assert not caplog.records


def test_im2rec_layout(tmp_path: Path) -> None:
    write_with_mxnet(tmp_path, [(key, float(label), image) for key, (image, label) in enumerate(IMAGES)])
    images = open_recordio(tmp_path)
    assert images.keys.tolist() == [0, 1, 2, 3, 4, 5]
    assert list(images.read()) == IMAGES


@pytest.mark.parametrize("with_identities", [False, True])
def test_without_index(tmp_path: Path, with_identities: bool) -> None:
    records = insightface_records()
    write_with_mxnet(tmp_path, records if with_identities else records[:6][::-1])
    (tmp_path / "train.idx").unlink()
    assert list(open_recordio(tmp_path).read()) == (IMAGES if with_identities else IMAGES[::-1])


def test_first_of_two_labels_is_the_class(tmp_path: Path) -> None:
    write_with_mxnet(tmp_path, [(key, [float(label), 1.0], image) for key, (image, label) in enumerate(IMAGES, 1)])
    assert list(open_recordio(tmp_path).read()) == IMAGES


@pytest.mark.parametrize(
    ("key", "labels", "message"),
    [(0, [8.0, 10.0], "identity keys"), (8, [4.0, 6.0], "1 identity ranges"), (9, [5.0, 8.0], "1 identity ranges")],
)
def test_wrong_ranges_are_reported_and_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: int, labels: list[float], message: str
) -> None:
    write_with_mxnet(tmp_path, [record if record[0] != key else (key, labels, b"") for record in insightface_records()])
    with caplog.at_level(logging.WARNING):
        assert list(open_recordio(tmp_path).read()) == IMAGES
    assert len(caplog.records) == 1 and message in caplog.text


def test_mxnet_reads_the_layout_we_write(tmp_path: Path) -> None:
    assert write_insightface_recordio(tmp_path, IMAGES, 3, 112) == 6
    reader = mx.recordio.MXIndexedRecordIO(str(tmp_path / "train.idx"), str(tmp_path / "train.rec"), "r")
    header, image = mx.recordio.unpack(reader.read_idx(0))
    assert (header.flag, image, header.label.tolist()) == (2, b"", [7.0, 10.0])
    ranges = [mx.recordio.unpack(reader.read_idx(key))[0].label.tolist() for key in range(7, 10)]
    assert ranges == [[1, 4], [4, 5], [5, 7]]
    found = [mx.recordio.unpack(reader.read_idx(key)) for key in range(1, 7)]
    assert [(image, int(header.label)) for header, image in found] == IMAGES
    assert reader.keys[-1] == 0
    assert read_property(tmp_path) == Property(3, 112, 112)
    assert list(open_recordio(tmp_path).read()) == IMAGES


def test_writer_leaves_nothing_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sort images by class"):
        write_insightface_recordio(tmp_path, [*IMAGES, (b"late", 0)], 3, 112)
    with pytest.raises(UserError, match="3 classes, expected 4"):
        write_insightface_recordio(tmp_path, IMAGES, 4, 112)
    assert not list(tmp_path.iterdir())
    write_insightface_recordio(tmp_path, IMAGES, 3, 112)
    with pytest.raises(UserError, match="exists already"):
        write_insightface_recordio(tmp_path, IMAGES, 3, 112)


@pytest.mark.parametrize("label", [-1.0, 2.5, np.nan, np.inf])
def test_labels_that_are_no_class_numbers(tmp_path: Path, label: float) -> None:
    write_with_mxnet(tmp_path, [(0, 1.0, b"image"), (1, label, b"image")])
    with pytest.raises(UserError, match=r"train\.rec: key 1 at byte \d+: label .* is not a class number"):
        list(open_recordio(tmp_path).read())


def test_a_tiny_image_is_not_mistaken_for_an_identity_record(tmp_path: Path) -> None:
    write_with_mxnet(tmp_path, [(0, 1.0, b"image"), (1, 2.0, b"eight by")])  # frames of 40 bytes, as of two labels
    assert list(open_recordio(tmp_path).read()) == [(b"image", 1), (b"eight by", 2)]


def test_missing_file_and_foreign_index(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.rec, which does not exist"):
        open_recordio(tmp_path)
    write_with_mxnet(tmp_path, insightface_records())
    data = (tmp_path / "train.rec").read_bytes()
    (tmp_path / "train.rec").write_bytes(data[:100])
    with pytest.raises(UserError, match=r"the file has 100 bytes"):
        open_recordio(tmp_path)
