"""Images straight from a .rec are those of the parts that the converter makes of it, in the same order."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data.conversion.convert import convert_recordio
from data.image import decode_image
from data.loading.augment import Augmentation
from data.loading.loader import BatchLoader
from data.loading.options import DataOptions
from data.recordio.options import RecordIOOptions
from data.sources.ofrecord import OFRecordSource
from data.sources.recordio import RecordIOSource
from data.sources.training_set import open_training_set
from tests.support.recordio_set import draw_faces, write_recordio

SIZE = 16
FACES = draw_faces(40, 8, SIZE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_recordio(tmp_path / "faces", FACES)


def read_all(source: RecordIOSource) -> None:
    """Check images and labels of a source against what was written."""
    assert len(source) == len(FACES) and source.num_classes == 8
    for index, (encoded, label) in enumerate(FACES):
        image, found = source.read(index)
        np.testing.assert_array_equal(image, decode_image(encoded, SIZE))
        assert found == label


@pytest.mark.parametrize("with_index", [False, True])
@pytest.mark.parametrize("with_identities", [False, True])
def test_all_layouts(tmp_path: Path, with_index: bool, with_identities: bool) -> None:
    write_recordio(tmp_path, FACES, with_index, with_identities)
    read_all(RecordIOSource(tmp_path, image_size=SIZE))
    read_all(RecordIOSource(tmp_path / "train.rec", image_size=SIZE))  # by the index that is kept


def test_records_in_pieces_are_put_together(folder: Path) -> None:
    source = RecordIOSource(folder, image_size=SIZE)
    rows = source.locate(np.arange(len(source))).tolist()
    split = [index for index, (_, offset, begin, _) in enumerate(rows) if offset == begin]
    assert split == list(range(0, 40, 5))
    assert source.read_encoded(rows) == [encoded for encoded, _ in FACES]


@pytest.mark.parametrize("num_parts", [1, 3])
def test_batches_are_those_of_the_parts(folder: Path, num_parts: int) -> None:
    convert_recordio(folder, folder / "parts", num_parts)
    options = DataOptions(6, 0, 3, Augmentation(mirror=True, shift=2.0))
    batches = []
    for source in (RecordIOSource(folder, image_size=SIZE), OFRecordSource(folder / "parts", image_size=SIZE)):
        assert source.num_classes == 8
        with BatchLoader(source, options) as loader:
            batches.append(
                [(batch.labels.copy(), batch.images.copy()) for batch, _ in zip(loader, range(8), strict=False)]
            )
    for (labels, images), (others, same) in zip(*batches, strict=True):
        assert labels.tobytes() == others.tobytes() and images.tobytes() == same.tobytes()


def test_bad_images_are_skipped_as_in_the_parts(tmp_path: Path) -> None:
    """Whole records and one in pieces that cannot be decoded: the same other images take their places."""
    faces = [(image[:40] if i in (7, 10, 33) else image, label) for i, (image, label) in enumerate(FACES)]
    folder = write_recordio(tmp_path, faces)
    convert_recordio(folder, folder / "parts", 2, options=RecordIOOptions(decode=False))
    batches = []
    for place in (folder, folder / "parts"):
        options = DataOptions(8, seed=3, bad_images="skip")
        with BatchLoader(open_training_set(place, image_size=SIZE), options) as loader:
            batches.append([batch.images.copy() for batch, _ in zip(loader, range(5), strict=False)])
    assert all(images.tobytes() == others.tobytes() for images, others in zip(*batches, strict=True))


def test_progress_is_shown_without_a_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    convert_recordio(folder, folder / "parts", 2)
    capfd.readouterr()
    monkeypatch.setattr("common.progress._SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr("data.sources.record_scan._MEGA", 1000)
    monkeypatch.setattr("data.recordio.scan._MEGA", 1000)
    monkeypatch.setattr("data.recordio.frames._MEGA", 1000)
    for place, shown in ((folder, "reading headers: "), (folder / "parts", "indexing: ")):
        open_training_set(place)
        assert shown in capfd.readouterr().err


def test_a_worker_gets_no_index(folder: Path) -> None:
    source = RecordIOSource(folder, image_size=SIZE)
    copy = pickle.loads(pickle.dumps(source))
    location = source.locate(np.array([5]))
    place = np.empty((SIZE, SIZE, 3), np.uint8)
    np.testing.assert_array_equal(copy.fetch(location, [place])[0], source.read(5)[0])
    with pytest.raises(RuntimeError, match="was sent to a worker"):
        copy.labels(np.array([5]))


def test_the_index_is_made_again_when_a_file_changes(folder: Path) -> None:
    assert len(RecordIOSource(folder, image_size=SIZE)) == 40
    (folder / "property").write_text("3,16,16\n")  # fewer than the labels
    with pytest.raises(UserError, match="property"):
        RecordIOSource(folder, image_size=SIZE)
    (folder / "property").unlink()
    write_recordio(folder, FACES[:20])
    assert len(RecordIOSource(folder, image_size=SIZE)) == 20
    lines = (folder / "train.idx").read_text().splitlines()
    (folder / "train.idx").write_text("\n".join(lines[:10]) + "\n")
    with pytest.raises(UserError, match=r"train\.idx") as raised:
        RecordIOSource(folder, image_size=SIZE)
    assert str(raised.value).splitlines()[-1] == (
        "a .rec is trained on as it is; to leave out or renumber, convert it: python tools/dataset_convert/"
        f"mx_recordio_2_ofrecord.py --rec {folder}/train.rec --output_filepath DIR"
    )


def test_what_no_flag_of_the_converter_mends_does_not_point_to_it(tmp_path: Path) -> None:
    write_recordio(tmp_path, [(image, label + 25_130_987) for image, label in FACES[:4]], with_identities=False)
    with pytest.raises(UserError, match=r"^\S*train\.rec: key 1 at byte 0: label 25130988 .* pack the set again .*$"):
        RecordIOSource(tmp_path, image_size=SIZE)


@pytest.mark.parametrize("index", [7, 10])
def test_a_bad_image_is_named(folder: Path, index: int) -> None:
    """Of a whole record and of one in pieces."""
    source = RecordIOSource(folder, image_size=SIZE)
    offset = int(source.locate(np.array([index]))[0, 1])
    with open(folder / "train.rec", "r+b") as handle:
        handle.seek(offset + 8 + 24 + 4 * (2 if (index + 1) % 3 == 0 else 0))
        handle.write(b"no")
    with pytest.raises(UserError, match=rf"train\.rec: record at byte {offset}: .*cannot be decoded"):
        source.read(index)
    os.truncate(folder / "train.rec", offset + 50)
    with pytest.raises(UserError, match=rf"record at byte {offset}: the file was cut since it was indexed"):
        source.read(index)
