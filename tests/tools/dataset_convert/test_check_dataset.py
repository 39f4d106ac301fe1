"""check_dataset.py as a user runs it."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import UserError
from data.image import decode_image, encode_jpeg, image_shape
from data.listing import open_listing
from data.ofrecord.records import encode_verification_record, write_record
from data.verification.bin_file import read_bin, write_bin
from snapshots.label_map import read_label_map
from tests.support.record_sets import Face, run_here, small_faces, write_part, write_photos, write_records

TOOL = "tools/dataset_convert/check_dataset.py"
WRITE = {"recordio": write_records, "ofrecord": write_part, "folder": write_photos}


def check(path: Path, *flags: object) -> tuple[int, str, str]:
    return run_here(TOOL, path, "--num_workers", 1, *flags)


def read_all(path: Path) -> list[Face]:
    listing = open_listing(path)
    return [(found.encoded, found.label) for found in listing.read(np.arange(len(listing)))]


@pytest.fixture
def faces() -> list[Face]:
    """Five people of three images; all of person 2 is bad, and 3 and 4 have one picture in common."""
    faces = small_faces(5, 3)
    faces[4] = (faces[4][0][: len(faces[4][0]) // 2], 1)
    faces[6:9] = [(b"a", 2), (b"b", 2), (b"c", 2)]
    faces[11] = (faces[14][0], 3)
    faces[1] = (faces[0][0], 0)
    return faces


@pytest.mark.parametrize("kind", WRITE)
def test_a_clean_set_holds_the_rest_with_new_classes(tmp_path: Path, faces: list[Face], kind: str) -> None:
    WRITE[kind](tmp_path / "set", faces)
    code, out, err = check(tmp_path / "set", "--write_clean", tmp_path / "clean")
    assert (code, err) == (0, "")
    new_class = {0: 0, 1: 1, 3: 2, 4: 3}
    expected = [(encoded, new_class[faces[n][1]]) for n in (0, 2, 3, 5, 9, 10, 12, 13) for encoded in [faces[n][0]]]
    assert sorted(read_all(tmp_path / "clean")) == sorted(expected)
    assert "8 of 15 images of 4 people, --num_classes 4" in out
    assert "people without an image left: 1" in out
    folder = tmp_path if kind == "folder" else tmp_path / "clean"
    prefix = "clean." if kind == "folder" else ""
    label_map = read_label_map(folder / f"{prefix}label_map.txt")
    assert dict(zip(label_map.old.tolist(), label_map.new.tolist(), strict=True)) == new_class
    rejected = list(csv.reader((folder / f"{prefix}rejected.csv").open()))[1:]
    assert sorted(row[1] for row in rejected) == sorted(
        ["damaged JPEG", *["not decodable"] * 3, "duplicate", *["several people"] * 2]
    )
    assert check(tmp_path / "clean")[0] == 0
    if kind == "folder":
        names = sorted(str(path.relative_to(tmp_path / "clean")) for path in (tmp_path / "clean").rglob("*.jpg"))
        assert names == sorted(f"person {faces[n][1]}/{n}.jpg" for n in (0, 2, 3, 5, 9, 10, 12, 13))


def test_only_what_drop_names_is_left_out(tmp_path: Path, faces: list[Face]) -> None:
    write_records(tmp_path / "set", faces)
    assert check(tmp_path / "set", "--write_clean", tmp_path / "clean", "--drop", "duplicates")[0] == 0
    kept = [number for number in range(15) if number not in (1, 6, 7, 8)]
    assert [encoded for encoded, _ in read_all(tmp_path / "clean")] == [faces[number][0] for number in kept]


def test_the_report_and_json_hold_everything(tmp_path: Path, faces: list[Face]) -> None:
    write_records(tmp_path / "set", faces, "7,32,32")
    write_bin(tmp_path / "set" / "own.bin", [faces[2][0], faces[2][0]], [True])
    code, out, _ = check(tmp_path / "set", "--report", tmp_path / "report", "--json", tmp_path / "all.json")
    assert code == 1
    for text in (
        "15 images of 5 people",
        "bad: 4 (3 not decodable, 1 damaged JPEG)",
        "classes without an image after the last label: 5-6",
        "images of several people: 2",
        "in verification set own.bin too: 1",
    ):
        assert text in out
    content = json.loads((tmp_path / "all.json").read_text())
    assert content == json.loads((tmp_path / "report" / "check.json").read_text())
    assert len(content["bad"]) == 4
    assert content["empty_classes_at_end"] == [5, 6]
    assert [(each["label"], each["label_of_same"]) for each in content["duplicates"]] == [(0, 0), (4, 3)]
    assert content["in_verification_sets"][str(tmp_path / "set" / "own.bin")][0]["label"] == 0
    assert len(list(csv.reader((tmp_path / "report" / "bad.csv").open()))) == 5
    assert len(list(csv.reader((tmp_path / "report" / "duplicates.csv").open()))) == 3
    assert image_shape((tmp_path / "report" / "images_per_person.png").read_bytes()) == (750, 1200)
    assert image_shape((tmp_path / "report" / "sheet.jpg").read_bytes())[0] > 500


def test_photos_of_all_sizes_in_a_rec_are_named(tmp_path: Path) -> None:
    """As im2rec packs them, which does not look at sizes."""
    generator = np.random.default_rng(1)
    faces = [
        (encode_jpeg(cv2.resize(decode_image(encoded, 32), tuple(generator.integers(200, 300, 2).tolist()))), label)
        for encoded, label in small_faces(4, 2)
    ]
    write_records(tmp_path / "set", faces, "4,112,112")
    code, out, _ = check(tmp_path / "set", "--json", tmp_path / "all.json")
    assert code == 1
    assert "bad: 8 (8 wrong size)" in out
    height, width = image_shape(faces[3][0])
    assert json.loads((tmp_path / "all.json").read_text())["bad"][3]["details"] == f"{width}x{height}, expected 112x112"
    code, _, err = check(tmp_path / "set", "--write_clean", tmp_path / "clean")
    assert code == 1
    assert "none of its 8 images would stay" in err
    assert not (tmp_path / "clean").exists()


def test_images_of_another_size_than_property_says(tmp_path: Path) -> None:
    faces = small_faces(3, 2)
    write_records(tmp_path / "set", faces, "3,112,112")
    code, _, err = check(tmp_path / "set", "--write_clean", tmp_path / "clean")
    assert code == 1
    assert "none of its 6 images would stay; most are 32x32: --image_size 32" in err
    assert check(tmp_path / "set", "--image_size", 32, "--write_clean", tmp_path / "clean")[0] == 0
    assert read_all(tmp_path / "clean") == faces
    oblong = [(encode_jpeg(np.zeros((40, 30, 3), np.uint8)), label) for label in range(2)]
    write_part(tmp_path / "oblong", oblong)
    code, _, err = check(tmp_path / "oblong", "--write_clean", tmp_path / "clean2")
    assert code == 1
    assert "most of its images are not square" in err


def test_a_bin_loses_pairs_with_bad_images(tmp_path: Path) -> None:
    images = [encoded for encoded, _ in small_faces(6, 1)]
    write_bin(tmp_path / "own.bin", [*images[:2], images[2], b"bad", *images[4:]], [True, True, False])
    code, out, _ = check(tmp_path / "own.bin", "--write_clean", tmp_path / "clean.bin")
    assert code == 0
    assert "own.bin: image 3 (pair 1): not decodable" in out
    assert read_bin(tmp_path / "clean.bin") == ([*images[:2], *images[4:]], [True, False])


def test_long_lists_end_in_a_count(tmp_path: Path) -> None:
    write_records(tmp_path / "set", [*small_faces(2, 2), *[(b"bad", 1)] * 30], "2,32,32")
    _, out, _ = check(tmp_path / "set")
    assert out.count("not decodable:") == 20
    assert "and 10 more" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--drop", "bad,blurred"], "unknown kind of --drop 'blurred'; known: bad, conflicts, damaged"),
        (["--write_clean", "{set}"], "exists already"),
        (["--verification", "{set}"], "is a training set; give .bin files"),
        (["--verification", "none.bin"], "none.bin is not there; expected a folder with train.rec"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, flags: list[str], message: str) -> None:
    write_records(tmp_path / "set", small_faces(2, 1))
    code, out, err = check(tmp_path / "set", *(flag.format(set=tmp_path / "set") for flag in flags))
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1


def test_parts_below_a_folder_are_found_or_named(tmp_path: Path) -> None:
    write_part(tmp_path / "mine" / "ofrecord" / "train", small_faces(2, 2))
    assert len(open_listing(tmp_path / "mine")) == 4
    write_part(tmp_path / "many" / "a", small_faces(2, 2))
    write_records(tmp_path / "many" / "b", small_faces(2, 2))
    with pytest.raises(UserError, match="holds datasets in a, b; give one of these folders"):
        open_listing(tmp_path / "many")


def test_what_is_not_a_dataset_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a dataset; expected a folder with train.rec"):
        open_listing(tmp_path)


def test_a_rec_of_any_name_is_given_as_a_file(tmp_path: Path, faces: list[Face]) -> None:
    write_records(tmp_path, faces, index=False)
    (tmp_path / "train.rec").rename(tmp_path / "train_0.rec")
    with pytest.raises(UserError, match="has no train.rec, but train_0.rec; give the file in place of the folder"):
        open_listing(tmp_path)
    assert "15 images of 5 people" in check(tmp_path / "train_0.rec")[1]


def test_labels_that_are_not_classes_are_not_cleaned(tmp_path: Path) -> None:
    write_records(tmp_path / "set", [(encoded, label + 69003073.0) for encoded, label in small_faces(6, 2)])
    code, out, err = check(tmp_path / "set", "--write_clean", tmp_path / "clean")
    assert code == 1
    assert "problem: " in out
    assert "pack the set again with labels 0, 1, 2, ..." in err
    assert not (tmp_path / "clean").exists()


def test_records_that_the_index_leaves_out_are_a_problem_and_come_back(tmp_path: Path) -> None:
    faces = small_faces(4, 3)
    write_records(tmp_path / "set", faces, "4,32,32")
    index = tmp_path / "set" / "train.idx"
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:8]))
    code, out, _ = check(tmp_path / "set")
    assert code == 1
    assert "12 images of 4 people" in out
    assert "train.idx" in out
    assert check(tmp_path / "set", "--write_clean", tmp_path / "clean")[0] == 0
    assert read_all(tmp_path / "clean") == faces


def test_names_that_are_not_utf8_are_printed(tmp_path: Path) -> None:
    person = tmp_path / "set" / "李伟".encode("gbk").decode("utf-8", "surrogateescape")
    person.mkdir(parents=True)
    (person / "a.jpg").write_bytes(b"not a picture")
    (person / "b.jpg").write_bytes(small_faces(1, 1)[0][0])
    code, out, _ = check(tmp_path / "set", "--json", tmp_path / "out.json", "--report", tmp_path / "report")
    assert code == 1
    assert r"\xc0\xee" in out
    assert (tmp_path / "report" / "bad.csv").read_bytes().split(b"\n")[1].startswith("李伟".encode("gbk"))


def test_pairs_of_an_image_with_itself_are_counted(tmp_path: Path) -> None:
    images = [encoded for encoded, _ in small_faces(3, 1)]
    pairs = [images[0], images[0], images[1], images[1], images[0], images[2]]
    write_bin(tmp_path / "own.bin", pairs, [True, False, True])
    out = check(tmp_path / "own.bin")[1]
    assert "pairs of an image with itself: 2, of which 1 are marked as two people" in out


def test_outputs_that_cannot_be_written_are_told_before_the_work(tmp_path: Path) -> None:
    write_records(tmp_path / "set", small_faces(2, 1))
    (tmp_path / "file").touch()
    code, out, err = check(tmp_path / "set", "--json", tmp_path / "file" / "out.json")
    assert (code, out) == (1, "")
    assert "cannot be created" in err
    assert "--json" in err


def test_verification_parts_lose_pairs_with_bad_images(tmp_path: Path) -> None:
    images = [encoded for encoded, _ in small_faces(7, 1)]
    images[2] = b"bad"
    (tmp_path / "own").mkdir()
    with open(tmp_path / "own" / "part-0", "wb") as handle:
        for number, encoded in enumerate(images):
            write_record(handle, encode_verification_record(encoded, number < 4))
    code, out, _ = check(tmp_path / "own", "--write_clean", tmp_path / "clean")
    assert code == 0
    assert "holds 7 images, expected an even number" in out
    clean = open_listing(tmp_path / "clean")
    assert [found.encoded for found in clean.read(np.arange(len(clean)))] == [*images[:2], *images[4:6]]
    assert clean.issame.tolist() == [True, False]


def test_a_set_without_a_usable_image_is_checked(tmp_path: Path) -> None:
    write_photos(tmp_path / "set", [(b"a", 0), (b"b", 1)])
    code, out, err = check(tmp_path / "set")
    assert (code, err) == (1, "") and "bad: 2 (2 not decodable)" in out


def test_outputs_among_photos_or_of_another_kind_are_refused(tmp_path: Path, faces: list[Face]) -> None:
    write_photos(tmp_path / "set", faces)
    for flag in ("--report", "--json", "--write_clean"):
        code, _, err = check(tmp_path / "set", flag, tmp_path / "set" / "x")
        assert code == 1 and f"error: {flag} {tmp_path}/set/x lies in the folder of photos" in err
    (tmp_path / "file").touch()
    for flag, name, message in (("--report", "file", "is not a folder"), ("--json", "set", "is a folder")):
        code, out, err = check(tmp_path / "set", flag, tmp_path / name)
        assert (code, out) == (1, "") and err == f"error: {flag} {tmp_path / name} {message}; choose another name\n"


def test_a_name_with_a_line_break_stays_in_its_line(tmp_path: Path) -> None:
    write_photos(tmp_path / "set", small_faces(2, 1))
    (tmp_path / "set" / "person 0" / "a\nb\x1b.jpg").write_bytes(b"bad")
    assert "a\\x0ab\\x1b.jpg: not decodable" in check(tmp_path / "set")[1]


def test_paths_may_have_any_name(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xc0\xee $a_$ b\n")
    write_records(tmp_path / name, [*small_faces(2, 1), (b"bad", 1)])
    code, _, err = check(tmp_path / name, "--report", tmp_path / "report", "--write_clean", tmp_path / "clean")
    assert (code, err) == (0, "")
    assert read_label_map(tmp_path / "clean" / "label_map.txt").old.tolist() == [0, 1]
    assert (tmp_path / "report" / "images_per_person.png").exists()
