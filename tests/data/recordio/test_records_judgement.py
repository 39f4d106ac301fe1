"""What is wrong with a RecordIO set is said, all of it at once, and never changed in silence."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from common.errors import UserError
from data.image import encode_jpeg
from data.recordio.dataset import open_recordio, survey_recordio
from data.recordio.property import Property, write_property
from data.sources.synthetic import SyntheticSource
from tests.support.recordio_sets import write_keys, write_set

CUSTOMERS = [25130987, 25130988, 25130989, 25130990, 69003071, 69003072]


def problems_of(folder: Path, **flags: bool) -> list[str]:
    with pytest.raises(UserError) as raised:
        open_recordio(folder, **flags)
    return str(raised.value).splitlines()


@pytest.mark.parametrize("renumber", [False, True])
def test_six_numbers_above_what_float32_holds_are_refused(tmp_path: Path, renumber: bool) -> None:
    offsets = write_set(tmp_path, [0, *CUSTOMERS])
    (line,) = problems_of(tmp_path, renumber_labels=renumber)
    assert f"key 1 at byte {offsets[1]}: label 25130988 (and those of 5 other images) is 16777216 or more" in line
    assert "3 different ones are left" in line  # of six


def test_the_largest_exact_label_is_read(tmp_path: Path) -> None:
    write_set(tmp_path, [(1 << 24) - 1, (1 << 24) - 2], prop=Property((1 << 24) - 1, 112, 112))
    images = open_recordio(tmp_path, renumber_labels=True)
    assert images.labels.tolist() == [1, 0]
    assert images.original_labels.tolist() == [(1 << 24) - 2, (1 << 24) - 1]
    write_set(tmp_path, [1 << 24, 0])
    assert "is 16777216 or more" in problems_of(tmp_path)[0]


@pytest.mark.parametrize("label", [-1.0, 2.5, 1.00000012, 0.0009765625, float("nan"), float("inf")])
def test_labels_that_are_not_class_numbers(tmp_path: Path, label: float) -> None:
    offsets = write_set(tmp_path, [0, 1, label, label])
    (line,) = problems_of(tmp_path, renumber_labels=True)
    assert f"key 2 at byte {offsets[2]}: label {label:.9g} (and those of 1 other images) is not a class number" in line
    assert survey_recordio(tmp_path / "train.rec")[0].labels.tolist() == [0, 1, -1, -1]


def test_headers_of_object_detection_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path, [(2, 5, person, 0.1, 0.1, 0.9, 0.9) for person in range(3)])
    assert "have the form of object detection ([2, 5, class, box, ...])" in problems_of(tmp_path)[0]
    write_set(tmp_path, [(4, 5, 640, 480, p, 0, 0, 1, 1, *[p, 0, 0, 1, 1] * p) for p in range(3)])
    assert "([4, 5, class, box, ...])" in problems_of(tmp_path)[0]


@pytest.mark.parametrize(
    "labels",
    [
        [(0, 1), (1, 1), (2, 0)],  # label, aligned
        [(p, 0, 0, 1, 1) for p in range(3)],  # label, box
        [(p, *range(10)) for p in range(3)],  # label, landmarks
        [(2, 5), (0, 5), (1, 5)],
    ],
)
def test_the_first_of_other_labels_is_the_class(tmp_path: Path, labels: list[tuple[float, ...]]) -> None:
    write_set(tmp_path, labels)
    assert open_recordio(tmp_path).labels.tolist() == [row[0] for row in labels]


def test_labels_far_from_dense_are_refused_or_renumbered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_set(tmp_path, [700, 5, 9000, 5], prop=Property(9001, 112, 112))
    (line,) = problems_of(tmp_path)
    assert "says 9001 classes, but the images show 3; --renumber_labels 1" in line
    images = open_recordio(tmp_path, renumber_labels=True)
    assert (images.labels.tolist(), images.num_classes) == ([1, 0, 2, 0], 3)
    assert images.original_labels.tolist() == [5, 700, 9000]
    assert "labels 5 to 9000 become classes 0 to 2" in caplog.text
    assert "3 classes; its property file says 9001" in caplog.text


def test_a_few_classes_without_images_are_a_notice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_set(tmp_path, [0, 1, 3, 4], prop=Property(6, 112, 112))
    assert open_recordio(tmp_path).num_classes == 6
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/train.rec: its property file says 6 classes, but the images show 4"
    ]


def test_dense_labels_are_not_renumbered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_set(tmp_path, [2, 0, 1])
    images = open_recordio(tmp_path, renumber_labels=True)
    assert images.labels.tolist() == [2, 0, 1] and images.original_labels is None and not caplog.records


def test_labels_from_1_name_the_way_out(tmp_path: Path) -> None:
    write_set(tmp_path, [1, 2, 3])
    (line,) = problems_of(tmp_path)
    assert "label 3 is not below the 3 classes of its property file; correct or remove property, or --renumber" in line
    assert open_recordio(tmp_path, renumber_labels=True).labels.tolist() == [0, 1, 2]


def test_property_of_another_image_size(tmp_path: Path) -> None:
    images = [encode_jpeg(SyntheticSource(2, 2, image_size=32).read(number)[0]) for number in range(2)]
    write_set(tmp_path, [0, 1], images, Property(2, 112, 112))
    (line,) = problems_of(tmp_path)
    assert "property says images of 112x112 pixels, but key 0 at byte 0 of train.rec has 32x32" in line
    images[1] = encode_jpeg(SyntheticSource(1, 1, image_size=40).read(0)[0])
    write_set(tmp_path, [0, 1], images, Property(2, 112, 112))
    assert "images of several sizes: tools/dataset_convert/recordio_2_folder.py" in problems_of(tmp_path)[0]
    (tmp_path / "property").unlink()
    (line,) = problems_of(tmp_path)
    assert "its first 2 images have 2 sizes; tools/dataset_convert/recordio_2_folder.py writes them out" in line
    write_set(tmp_path, [0, 1, 0], [images[1], images[0], images[0]])
    assert open_recordio(tmp_path).image_size == 32  # the first one is a bad image
    write_set(tmp_path, [0, 1], [b"not an image", images[0]], Property(2, 32, 32))
    assert open_recordio(tmp_path).image_size == 32
    write_set(tmp_path, [0, 1], [b"not", b"images"])
    (tmp_path / "property").unlink()
    assert "none of its first 2 images can be decoded" in problems_of(tmp_path)[0]
    write_property(tmp_path, Property(2, 96, 112))
    assert "112x96 pixels; only square ones can be used; tools/dataset_convert/rec" in problems_of(tmp_path)[0]


def test_an_index_that_leaves_images_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    offsets = write_set(tmp_path, [0, 1, 2, 0, 1, 2])
    write_keys(tmp_path, [7, 5], [offsets[1], offsets[4]])
    missing = sum((tmp_path / "train.rec").stat().st_size // 6 for _ in range(4))
    (line,) = problems_of(tmp_path)[:1]
    assert f"train.idx leaves out 4 of the 6 images of train.rec ({missing} bytes, the first at byte 0)" in line
    assert "--ignore_idx 1 reads all records" in line
    images = open_recordio(tmp_path, ignore_idx=True)
    assert (images.keys.tolist(), images.labels.tolist()) == ([0, 1, 2, 3, 4, 5], [0, 1, 2, 0, 1, 2])
    assert not caplog.records
    write_property(tmp_path, Property(2, 112, 112))
    images = open_recordio(tmp_path, ignore_idx=False)
    assert (images.keys.tolist(), images.labels.tolist()) == ([7, 5], [1, 1])
    assert "leaves out 4 of the 6 images" in caplog.text and "not used" in caplog.text


def test_keys_that_are_not_unique(tmp_path: Path) -> None:
    offsets = write_set(tmp_path, [0, 1, 2])
    write_keys(tmp_path, [7, 7, 7], offsets)
    assert "train.idx: key 7 occurs 3 times; " in problems_of(tmp_path)[0]
    write_keys(tmp_path, [1, 2, 3, 4], [*offsets, offsets[0]])
    assert f"train.idx: byte {offsets[0]} occurs 2 times; " in problems_of(tmp_path)[0]
    assert open_recordio(tmp_path, ignore_idx=True).keys.tolist() == [0, 1, 2]


@pytest.mark.parametrize("first", [0, 1, 1 << 33])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_keys_may_be_any_numbers(tmp_path: Path, first: int, line_end: bytes) -> None:
    offsets = write_set(tmp_path, [2, 0, 1])
    write_keys(tmp_path, [first, first + 5, first + 1], offsets)
    text = (tmp_path / "train.idx").read_bytes()
    (tmp_path / "train.idx").write_bytes(text.replace(b"\n", line_end))
    images = open_recordio(tmp_path)
    assert (images.keys.tolist(), images.labels.tolist()) == ([first, first + 5, first + 1], [2, 0, 1])


@pytest.mark.parametrize(
    "text", ["", "0\t0\n1\t", "0 0 1\n", "key\toffset\n", "0\t0\n1\t44\n2\t90\n", "0\t0\n1\t10000\n"]
)
def test_an_index_of_another_file_or_cut_short(tmp_path: Path, text: str) -> None:
    write_set(tmp_path, [0, 1, 2])
    (tmp_path / "train.idx").write_text(text)
    lines = problems_of(tmp_path)
    assert "train.idx" in lines[0] and "--ignore_idx 1" in lines[0]
    assert len(open_recordio(tmp_path, ignore_idx=True)) == 3


def test_two_sets_one_after_the_other(tmp_path: Path) -> None:
    one = [0.0, 0.0, 1.0, (1.0, 3.0), (3.0, 4.0), (4.0, 6.0)]
    images = [b"a", b"b", b"c", b"", b"", b""]
    offsets = write_set(tmp_path, one + one, images + images, Property(2, 112, 112))
    (tmp_path / "train.idx").unlink()
    (line,) = problems_of(tmp_path)
    assert "images follow the list of identities" in line and "merge_datasets.py" in line
    write_keys(tmp_path, [1, 2, 3, 4, 5, 0], offsets[:6])
    assert open_recordio(tmp_path, ignore_idx=False).labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("second", "shared"), [([0, 0, 1, 2], 2), ([1, 0, 1, 0], 2), ([4, 3, 2, 1], 1), ([2, 3, 2, 4], 0)]
)
def test_two_sets_of_im2rec_one_after_the_other(
    tmp_path: Path, second: list[int], shared: int, caplog: pytest.LogCaptureFixture
) -> None:
    first = [0, 1, 1, 0]
    for name, labels in (("a", first), ("b", second)):
        write_set(tmp_path / name, labels)
        open_recordio(tmp_path / name, renumber_labels=True)
    assert "begin again" not in caplog.text
    joined = [(tmp_path / name / "train.rec").read_bytes() for name in "ab"]
    (tmp_path / "train.rec").write_bytes(b"".join(joined))
    write_property(tmp_path, Property(len({*first, *second}), 112, 112))
    open_recordio(tmp_path)
    text = f"begin again at byte {len(joined[0])}, as in 2 sets one after the other, and {shared} of "
    assert (text in caplog.text, "begin again" in caplog.text) == (shared > 0,) * 2


def test_numbers_of_records_that_say_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_set(tmp_path, [0, 1, 0, 1])
    content = (tmp_path / "train.rec").read_bytes()
    (tmp_path / "train.rec").write_bytes(content[: len(content) // 4] * 8)  # all records have the number 0
    write_property(tmp_path, Property(1, 112, 112))
    (tmp_path / "train.idx").unlink()
    open_recordio(tmp_path)
    assert not caplog.records


def test_all_problems_are_said_at_once(tmp_path: Path) -> None:
    offsets = write_set(tmp_path, [0, 1, 2.5, 3])
    write_keys(tmp_path, [1, 1], offsets[:2])
    (tmp_path / "property").write_bytes(b"4;112;112")
    with open(tmp_path / "train.rec", "ab") as handle:
        handle.write(b"more")
    lines = problems_of(tmp_path)
    said = "truncated", "key 1 occurs 2 times", "found '4;112;112'", "label 2.5 is not a class number", "can be decoded"
    assert len(lines) == len(said) and all(words in line for words, line in zip(said, lines, strict=True))


def test_other_names_are_listed(tmp_path: Path) -> None:
    write_set(tmp_path, [0, 1])
    for name in ("train.rec", "train.idx"):
        (tmp_path / name).rename(tmp_path / name.replace("train", "train_0"))
    with pytest.raises(
        UserError, match=r"train\.rec, which does not exist; found train_0\.rec: name the file with --rec"
    ):
        open_recordio(tmp_path)
    assert len(open_recordio(tmp_path / "train_0.rec")) == 2
    (tmp_path / "train_1.rec").touch()
    with pytest.raises(UserError, match=r"--rec, or join them with .*merge_datasets\.py \(--same_labels 1 if they are"):
        open_recordio(tmp_path)
    with pytest.raises(UserError, match=r"nowhere, which does not exist"):
        open_recordio(tmp_path / "nowhere")


def test_records_without_an_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = [b"a", b"", b"c", b""]
    write_set(tmp_path, [0.0, 1.0, 1.0, (7.0, 9.0)], images, Property(2, 112, 112))
    with caplog.at_level(logging.WARNING):
        found = open_recordio(tmp_path)
    assert [image for image, _ in found.read()] == [b"a", b"", b"c"]  # an empty image is found when it is decoded
    assert "1 records hold two labels and no image, and none has the key 0" in caplog.text
