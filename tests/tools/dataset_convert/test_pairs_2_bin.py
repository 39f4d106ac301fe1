"""Verification sets made of photos."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from insightface.utils.face_align import norm_crop

from common.errors import UserError
from data.image import decode_image, decode_photo
from data.photos.detectors import open_detector
from data.photos.upright import find_face
from data.verification.bin_file import read_bin
from data.verification.verification_set import load_verification_set
from evaluation.baseline import verify_pixels
from tests.support.strangers import astronaut, encode, hanks, orl, write_person
from tools.dataset_convert import pairs_2_bin


def run(monkeypatch: pytest.MonkeyPatch, **flags: object) -> None:
    words = [str(word) for flag, value in {"num_workers": 1, **flags}.items() for word in (f"--{flag}", value)]
    monkeypatch.setattr(sys, "argv", ["pairs_2_bin.py", *words])
    pairs_2_bin.main()


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Six people with five photographs each, some of 250x250 pixels, a text and a hidden folder."""
    for person in range(1, 7):
        write_person(tmp_path / "people" / f"p{person}", person, 5)
    (tmp_path / "people" / "p1" / "names.txt").write_text("a text")
    (tmp_path / "people" / ".trash").mkdir()
    return tmp_path / "people"


def test_a_drawn_set_is_verified(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, people: Path, tmp_path: Path
) -> None:
    flags = {"input_dir": people, "draw": 60, "folds": 3, "resize": 1}
    run(monkeypatch, **flags, output=tmp_path / "mine.bin", ofrecord=1)
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path}/mine.bin: 60 pairs of ") and "30 of one person and 30 of two" in said
    assert f"--val_targets mine --mine_dataset_dir {tmp_path}/mine.bin --nrof_folds 3" in said
    faces = load_verification_set(tmp_path / "mine.bin", "mine")
    assert faces.issame.sum() == 30 and len(faces.images) <= 30
    parts = load_verification_set(tmp_path / "mine", "mine")
    np.testing.assert_array_equal(parts.images, faces.images)
    np.testing.assert_array_equal(parts.index, faces.index)
    assert verify_pixels("mine", faces.images, faces.index, faces.issame, 3).auc > 0.7  # the labels are right
    run(monkeypatch, **flags, output=tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "mine.bin").read_bytes()
    (tmp_path / "classes.txt").write_text("p1\np4\n")
    run(
        monkeypatch,
        **{**flags, "folds": 2, "draw": 40},
        leave_out=tmp_path / "classes.txt",
        output=tmp_path / "four.bin",
    )
    of_two = {encode(orl(person, number), ".png") for person in (1, 4) for number in (1, 5)}
    assert not of_two & set(read_bin(tmp_path / "four.bin")[0])
    assert of_two & set(read_bin(tmp_path / "mine.bin")[0])


def test_photos_that_give_no_image_are_not_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, people: Path, tmp_path: Path
) -> None:
    run(monkeypatch, input_dir=people, draw=120, folds=3, resize=1, output=tmp_path / "mine.bin")
    assert f"left out: 1 not decodable; {tmp_path}/mine.rejected.csv lists them" in capsys.readouterr().out
    assert (
        (tmp_path / "mine.rejected.csv").read_text().splitlines()[1].startswith(f"{people}/p1/names.txt,not decodable")
    )
    assert len(read_bin(tmp_path / "mine.bin")[1]) == 120  # every same pair that there is: 6 people, 10 each


def test_a_list_is_aligned_as_insightface_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy(hanks(), tmp_path / "a.png")
    shutil.copy(astronaut(), tmp_path / "b.png")
    (tmp_path / "pairs_label.txt").write_text("a.png b.png 0\na.png a.png 1\n")
    run(monkeypatch, pairs=tmp_path / "pairs_label.txt", align=1, folds=2, output=tmp_path / "two.bin")
    bins, issame = read_bin(tmp_path / "two.bin")
    assert issame == [False, True] and bins[0] == bins[2] == bins[3]
    detector = open_detector()
    for encoded, path in zip(bins[:2], (hanks(), astronaut()), strict=True):
        photo = decode_photo(path.read_bytes())
        expected = norm_crop(photo, find_face(photo, detector).landmarks)
        assert cv2.PSNR(decode_image(encoded, 112), expected) > 35  # JPEG


def test_bad_photos_of_a_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, people: Path, tmp_path: Path
) -> None:
    (people / "p1" / "bad.jpg").write_bytes(b"bad")
    (people / "p1" / "empty.jpg").write_bytes(b"")
    lines = ["p1/1.png p1/4.jpg 1", "p1/bad.jpg p1/1.png 1", "p1/1.png p2/1.png 0", "p2/1.png p1/empty.jpg 0"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    flags = {"pairs": tmp_path / "list.txt", "input_dir": people, "output": tmp_path / "l.bin", "folds": 2}
    with pytest.raises(UserError) as caught:
        run(monkeypatch, **flags)
    first, second, last = str(caught.value).splitlines()
    assert "p1/bad.jpg: not decodable (3 bytes" in first and "p1/empty.jpg: not decodable" in second
    assert "2 photos give no image (2 not decodable), so 2 of 4 pairs cannot be made" in last
    assert not (tmp_path / "l.bin").exists()
    run(monkeypatch, **flags, skip_bad=1)
    bins, issame = read_bin(tmp_path / "l.bin")
    assert issame == [True, False] and bins[0] == (people / "p1" / "1.png").read_bytes()  # stored unchanged
    (tmp_path / "list.txt").write_text("p1/1.png p1/4.jpg 1\n" * 2)
    with pytest.raises(UserError, match="none of the 2 pairs is of two people; a verification needs pairs of both"):
        run(monkeypatch, **{**flags, "output": tmp_path / "same.bin"})
    (tmp_path / "list.txt").write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"list\.txt: 2 pairs are too few for 10 folds; add some, or set a smaller"):
        run(monkeypatch, **{**flags, "output": tmp_path / "m.bin", "folds": 10}, skip_bad=1)


def test_other_sizes_are_said_with_the_flags_that_help(
    monkeypatch: pytest.MonkeyPatch, people: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"photos are not 112x112 pixels; use --align 1 .*IMG_3 \(250x250\)"):
        run(monkeypatch, input_dir=people, draw=60, folds=3, output=tmp_path / "mine.bin")


@pytest.mark.parametrize(
    ("flags", "messages"),
    [
        ({}, ["give either --pairs FILE or --draw N"]),
        ({"draw": 20}, ["--draw needs --input_dir"]),
        (
            {"pairs": "a", "align": 1, "resize": 1, "leave_out": "b", "folds": 1, "output": "mine"},
            ["--leave_out b needs --draw", "--align 1 and --resize 1 contradict", "must end in .bin", "--folds 1 must"],
        ),
        (
            {"pairs": "a", "detector": "x.onnx", "image_size": 8},
            ["--detector x.onnx needs --align 1", "--image_size 8"],
        ),
        ({"pairs": "absent.txt"}, ["absent.txt cannot be read (No such file or directory)"]),
        ({"draw": 20, "input_dir": "absent"}, ["--input_dir absent is not a folder"]),
        ({"draw": 20, "input_dir": "people", "leave_out": "no.txt"}, ["--leave_out no.txt cannot be read"]),
        ({"draw": 20, "input_dir": "people", "leave_out": "all.txt"}, ["names all people in people"]),
        ({"pairs": "a", "output": "all.bin", "ofrecord": 1}, ["all.bin exists already", "all exists already"]),
    ],
)
def test_mistakes_are_said_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: dict[str, object], messages: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people" / "p1").mkdir(parents=True)
    (tmp_path / "people" / "p1" / "1.png").write_bytes(encode(orl(1, 1), ".png"))
    (tmp_path / "all.txt").write_text("p1\n")
    (tmp_path / "all.bin").touch()
    (tmp_path / "all").mkdir()
    with pytest.raises(UserError) as caught:
        run(monkeypatch, **{"output": "mine.bin", **flags})
    lines = str(caught.value).splitlines()
    assert len(lines) == len(messages)
    assert all(message in line for line, message in zip(lines, messages, strict=True)), lines
