"""merge_datasets.py and recordio_2_folder.py as a user runs them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.image import decode_image, encode_jpeg, image_shape
from data.listing import open_listing
from data.listing.base import write_names
from data.ofrecord.records import list_parts, read_dataset_info
from data.recordio.dataset import open_recordio
from snapshots.label_map import read_label_map
from tests.support.record_sets import Face, run_here, small_faces, write_part, write_photos, write_records

MERGE, UNPACK = "tools/dataset_convert/merge_datasets.py", "tools/dataset_convert/recordio_2_folder.py"
PACK = "tools/dataset_convert/folder_2_recordio.py"


def read_all(path: Path) -> list[Face]:
    listing = open_listing(path)
    return [(found.encoded, found.label) for found in listing.read(np.arange(len(listing)))]


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    """Recordio of classes 0, 1, 3, and OFRecord parts of two classes."""
    faces = small_faces(5, 3)
    write_records(tmp_path / "a", [(encoded, {0: 0, 1: 1, 2: 3}[label]) for encoded, label in faces[:9]], "4,32,32")
    write_part(tmp_path / "b", [(encoded, label - 3) for encoded, label in faces[9:]])
    return tmp_path / "a", tmp_path / "b"


def expected(sets: tuple[Path, Path], *maps: dict[int, int]) -> list[Face]:
    return [
        (encoded, classes[label]) for path, classes in zip(sets, maps, strict=True) for encoded, label in read_all(path)
    ]


@pytest.mark.parametrize("ofrecord", [0, 1])
def test_two_sets_become_one(tmp_path: Path, sets: tuple[Path, Path], ofrecord: int) -> None:
    output = tmp_path / "c"
    code, out, err = run_here(MERGE, *sets, "--output", output, "--ofrecord", ofrecord, "--num_part", 2)
    assert (code, err) == (0, "")
    assert "15 images of 5 people, --num_classes 5" in out
    assert read_all(output) == expected(sets, {0: 0, 1: 1, 3: 2}, {0: 3, 1: 4})
    assert read_label_map(output / "label_map_1.txt").old.tolist() == [0, 1, 3]
    assert read_label_map(output / "label_map_2.txt").new.tolist() == [3, 4]
    if ofrecord:
        assert len(list_parts(output)) == 2
        assert read_dataset_info(output)["num_classes"] == 5
        assert read_dataset_info(output)["image_size"] == 32
    else:
        assert open_recordio(output).num_classes == 5


def test_the_same_people_become_one(tmp_path: Path, sets: tuple[Path, Path]) -> None:
    (tmp_path / "same.csv").write_text("set_1,class_1,set_2,class_2\n1,3,2,1\n")
    code, out, _ = run_here(MERGE, *sets, "--output", tmp_path / "c", "--same_people", tmp_path / "same.csv")
    assert code == 0
    assert "4 people, 1 pair of classes joined" in out
    assert Counter(read_all(tmp_path / "c")) == Counter(expected(sets, {0: 0, 1: 1, 3: 2}, {0: 3, 1: 2}))


def test_pairs_that_make_one_person_of_all_are_refused(tmp_path: Path, sets: tuple[Path, Path]) -> None:
    pairs = ["1,0,1,1", "1,1,1,2", "1,2,1,3", "1,0,2,0", "1,0,2,1"]
    (tmp_path / "same.csv").write_text("\n".join(["set_1,class_1,set_2,class_2", *pairs]))
    code, _, err = run_here(MERGE, *sets, "--output", tmp_path / "c", "--same_people", tmp_path / "same.csv")
    assert code == 1 and "make one person of all" in err and not (tmp_path / "c").exists()


def test_files_of_one_set_keep_equal_labels_together(tmp_path: Path) -> None:
    """As im2rec --chunks writes them."""
    faces = small_faces(4, 2)
    order = np.random.default_rng(1).permutation(8)
    chunks = [[faces[number] for number in part] for part in np.split(order, [3])]
    for number, chunk in enumerate(chunks):
        write_records(tmp_path / "set", chunk, index=False)
        (tmp_path / "set" / "train.rec").rename(tmp_path / "set" / f"train_{number}.rec")
    files = sorted((tmp_path / "set").glob("*.rec"))
    code, _, err = run_here(MERGE, *files, "--output", tmp_path / "c", "--same_labels", 1)
    assert (code, err) == (0, "")
    assert Counter(read_all(tmp_path / "c")) == Counter(faces)


def test_names_of_classes_are_kept(tmp_path: Path, sets: tuple[Path, Path]) -> None:
    write_names(sets[0], ["anna", "bert", "", "carl"])
    write_names(sets[1], ["anna", "dora"])
    assert run_here(MERGE, *sets, "--output", tmp_path / "c")[0] == 0
    assert (tmp_path / "c" / "classes.txt").read_text().split() == ["anna", "bert", "carl", "b_anna", "dora"]


def test_sets_of_different_sizes_are_refused(tmp_path: Path, sets: tuple[Path, Path]) -> None:
    write_records(tmp_path / "large", small_faces(2, 1, size=48))
    code, _, err = run_here(MERGE, *sets, tmp_path / "large", "--output", tmp_path / "c")
    assert code == 1
    assert "different sizes" in err
    assert "large 48x48" in err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--output is missing"),
        (["--output", "{a}"], "exists already"),
        (["--output", "c", "--model", "m"], "--model needs --list DIR"),
        (["--output", "c", "--same_people", "f", "--model", "m", "--list", "l"], "--same_people and --model are both"),
        (
            ["--output", "c", "--same_people", "f", "--same_labels", "1"],
            "--same_labels and --same_people are both given",
        ),
    ],
)
def test_mistakes_are_one_line(sets: tuple[Path, Path], flags: list[str], message: str) -> None:
    code, out, err = run_here(MERGE, *sets, *(flag.format(a=sets[0]) for flag in flags))
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1


def test_pictures_come_out_unchanged_and_go_in_again(tmp_path: Path) -> None:
    faces = small_faces(12, 2)
    write_records(tmp_path / "set", faces, "12,32,32")
    code, out, _ = run_here(UNPACK, "--data_dir", tmp_path / "set", "--output_dir", tmp_path / "photos")
    assert code == 0
    assert "24 images of 12 people" in out
    assert (tmp_path / "photos" / "00003" / "00000006.jpg").read_bytes() == faces[6][0]
    assert read_all(tmp_path / "photos") == faces
    flags = ("--input_dir", tmp_path / "photos", "--output_dir", tmp_path / "again", "--image_size", 32)
    assert run_here(PACK, *flags)[0] == 0
    assert read_all(tmp_path / "again") == faces


@pytest.mark.parametrize("prop", ["", "2,112,112"])
def test_photos_of_all_sizes_in_a_rec_become_a_set_of_one_size(tmp_path: Path, prop: str) -> None:
    """As im2rec packs them, which does not look at sizes; the message of every reader names these commands."""
    sizes = np.random.default_rng(1).integers(200, 300, (6, 2)).tolist()
    faces = [
        (encode_jpeg(cv2.resize(decode_image(encoded, 32), tuple(size))), label)
        for (encoded, label), size in zip(small_faces(2, 3), sizes, strict=True)
    ]
    write_records(tmp_path / "set", faces, prop)
    code, _, err = run_here(MERGE, tmp_path / "set", tmp_path / "set", "--output", tmp_path / "c")
    assert code == 1
    assert err.count("\n") == 2 and err.count("recordio_2_folder.py writes them out, and folder_2_recordio.py") == 2
    assert run_here(UNPACK, "--data_dir", tmp_path / "set", "--output_dir", tmp_path / "photos")[0] == 0
    assert read_all(tmp_path / "photos") == faces
    flags = ("--input_dir", tmp_path / "photos", "--output_dir", tmp_path / "again", "--resize", 1)
    assert run_here(PACK, *flags)[0] == 0
    assert [image_shape(encoded) for encoded, _ in read_all(tmp_path / "again")] == [(112, 112)] * 6


def test_people_keep_their_names_where_these_can_be_folders(tmp_path: Path) -> None:
    faces = small_faces(3, 1)
    write_photos(tmp_path / "photos", faces)
    flags = ("--input_dir", tmp_path / "photos", "--output_dir", tmp_path / "set", "--image_size", 32)
    assert run_here(PACK, *flags)[0] == 0
    assert run_here(UNPACK, "--data_dir", tmp_path / "set", "--output_dir", tmp_path / "out")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["person 0", "person 1", "person 2"]
    write_names(tmp_path / "set", ["a/b", "c", "d"])
    assert run_here(UNPACK, "--data_dir", tmp_path / "set", "--output_dir", tmp_path / "numbers")[0] == 0
    assert sorted(path.name for path in (tmp_path / "numbers").iterdir()) == ["00000", "00001", "00002"]
