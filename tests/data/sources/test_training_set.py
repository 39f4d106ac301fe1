"""What a training set is: where its images are, what they show, and what contradicts it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from common.errors import UserError
from data.conversion.convert import convert_recordio
from data.image import encode_jpeg
from data.ofrecord.records import encode_train_record, write_record
from data.sources.ofrecord import OFRecordSource
from data.sources.recordio import RecordIOSource
from data.sources.synthetic import SyntheticSource
from data.sources.training_set import Facts, check_training_set, find_training_set, open_training_set, read_facts
from tests.support.recordio_set import draw_faces, write_recordio

SIZE = 16
FACES = draw_faces(24, 6, SIZE)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A dataset's folder: train.rec, and its parts in ofrecord/train."""
    write_recordio(tmp_path / "faces", FACES)
    convert_recordio(tmp_path / "faces", tmp_path / "faces" / "ofrecord" / "train", 2)
    return tmp_path / "faces"


def test_places(faces: Path, tmp_path: Path) -> None:
    parts = faces / "ofrecord" / "train"
    assert find_training_set(faces) == faces / "train.rec" == find_training_set(faces / "train.rec")
    assert find_training_set(parts) == parts
    assert isinstance(open_training_set(faces), RecordIOSource)
    assert isinstance(open_training_set(parts), OFRecordSource)
    (faces / "train.rec").rename(faces / "train_0.rec")
    assert find_training_set(faces) == parts
    shutil.rmtree(parts)
    with pytest.raises(UserError, match=r"has no train\.rec, but train_0\.rec: name one, --dataset_dir .*train_0\.rec"):
        find_training_set(faces)
    with pytest.raises(UserError, match="is one file, but the config expects 2 parts"):
        open_training_set(faces / "train_0.rec", part_num=2)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("faces/ofrecord/train", r"train\.rec is there: --dataset_dir .*faces trains on it as it is, or convert it: "),
        ("faces_orl/ofrecord/train", r"which does not exist; make the set: python .*orl_2_recordio\.py --output_dir "),
        ("faces,faces", r"one place is expected, and tools/dataset_convert/merge_datasets\.py joins sets; "),
        ("empty", r"no images are there; name another --dataset_dir, .*folder_2_recordio\.py"),
    ],
)
def test_a_missing_set_says_where_images_come_from(tmp_path: Path, place: str, message: str) -> None:
    write_recordio(tmp_path / "faces", FACES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"^looked for OFRecord parts .*{message}"):
        find_training_set(tmp_path / place)


def test_facts(faces: Path) -> None:
    assert read_facts(faces) == Facts(faces / "train.rec", 24, 6, 6, SIZE)
    parts = faces / "ofrecord" / "train"
    assert read_facts(parts) == Facts(parts, 24, 6, 6, SIZE)
    (faces / "property").write_text(f"9,{SIZE},{SIZE}\n")
    assert read_facts(faces).num_classes == 9  # three classes without images, which the converter keeps too


def test_labels_far_from_dense_are_refused(tmp_path: Path) -> None:
    with open(tmp_path / "part-00000", "wb") as handle:
        for image, label in FACES:
            write_record(handle, encode_train_record(image, label + 25_130_987))
    with pytest.raises(UserError, match="the images show 6 people, but their labels go up to 25130992, and each class"):
        read_facts(tmp_path)


def check(place: Path, num_classes: int = 6, image_size: int = SIZE) -> list[str]:
    return check_training_set(open_training_set(place, num_classes, image_size))


def test_a_set_without_contradictions(faces: Path) -> None:
    assert check(faces) == check(faces / "ofrecord" / "train") == []


def test_classes_without_images_are_one_line(faces: Path) -> None:
    for place, folder in ((faces, faces), (faces / "ofrecord" / "train",) * 2):
        (line,) = check(place, 85742)
        assert line.startswith(f"85736 of the 85742 classes have no image in {folder}; ")
    (faces / "property").write_text(f"9,{SIZE},{SIZE}\n")
    (line,) = check(faces, 9)
    assert line.startswith(f"3 of the 9 classes have no image in {faces} (property says 9); ")


def test_parts_of_two_sets_in_one_folder(faces: Path) -> None:
    parts = faces / "ofrecord" / "train"
    shutil.copy(parts / "part-00000", parts / "part-00002")
    with pytest.raises(UserError, match=r"dataset\.json says num_images 24, num_parts 2, but .* holds 36, 3: .*merge"):
        check(parts)
    (parts / "dataset.json").unlink()
    assert check(parts) == []


def test_fewer_classes_than_labels(faces: Path) -> None:
    parts = faces / "ofrecord" / "train"
    with pytest.raises(UserError, match=r"label 5, but the config has num_classes 5; .*\(4 of 24 images have such"):
        check(parts, 5)
    info = json.loads((parts / "dataset.json").read_text())
    (parts / "dataset.json").write_text(json.dumps({**info, "num_classes": 4}))
    with pytest.raises(UserError, match=r"dataset\.json says 4 classes, but labels go up to 5; correct or remove"):
        check(parts)


def test_one_person_cannot_be_compared(tmp_path: Path) -> None:
    write_recordio(tmp_path, [(image, 0) for image, _ in FACES])
    with pytest.raises(UserError, match="^[^\n]* shows one person, but training compares people; make a set of"):
        check(tmp_path, 1)


def test_sizes(tmp_path: Path, faces: Path) -> None:
    with pytest.raises(UserError, match="of 16 images of .* looked at, 16 of 16x16 pixels, but image_size is 112"):
        check(faces, image_size=112)
    parts = faces / "ofrecord" / "train"
    info = json.loads((parts / "dataset.json").read_text())
    (parts / "dataset.json").write_text(json.dumps({**info, "image_size": 112}))
    assert check(parts) == [f"{parts / 'dataset.json'} says images of 112x112 pixels, they have {SIZE}x{SIZE}"]
    larger = encode_jpeg(SyntheticSource(1, 1, 24).read(0)[0])
    write_recordio(tmp_path / "mixed", [*FACES[:-1], (larger, 5)])
    (line,) = check(tmp_path / "mixed")
    assert line.startswith("of 16 images of ") and "looked at, 1 of 24x24 pixels, but image_size is 16: " in line
