from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.errors import UserError
from data.photos.walk import HIDDEN, LOOSE, printable, walk_people, walk_photos
from data.rejected import Rejection

GBK_NAME = os.fsdecode("王芳".encode("gbk"))


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_photos_in_folders_below_a_person_belong_to_the_person(tmp_path: Path) -> None:
    put(tmp_path, "zoe/b.jpg", "zoe/2019/summer/a", "adam/1.png", "jörg/王.tif")
    found = walk_people(tmp_path)
    assert {name: [str(path.relative_to(tmp_path)) for path in paths] for name, paths in found.people.items()} == {
        "adam": ["adam/1.png"],
        "jörg": ["jörg/王.tif"],
        "zoe": ["zoe/2019/summer/a", "zoe/b.jpg"],
    }
    assert list(found.people) == ["adam", "jörg", "zoe"]
    assert found.empty == [] and found.left_out == []


def test_names_of_systems_and_loose_files_are_left_out_and_listed(tmp_path: Path) -> None:
    put(tmp_path, "anna/1.jpg", "anna/._1.jpg", "anna/@eaDir/1.jpg", ".ipynb_checkpoints/a.jpg", "__MACOSX/b.jpg")
    put(tmp_path, "notes.txt")
    (tmp_path / "nobody" / "deep").mkdir(parents=True)
    (tmp_path / "anna" / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "anna" / "self").symlink_to("self")
    found = walk_people(tmp_path)
    assert [path.name for path in found.people["anna"]] == ["1.jpg"] and found.empty == ["nobody"]
    hidden = ["anna/._1.jpg", "anna/@eaDir", ".ipynb_checkpoints", "__MACOSX"]
    assert sorted(found.left_out) == sorted(
        [
            *(Rejection(name, HIDDEN) for name in hidden),
            Rejection("notes.txt", LOOSE),
            Rejection("anna/gone.jpg", "not readable", "not a file"),
            Rejection("anna/self", "not readable", "not a file"),
        ]
    )


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path: Path) -> None:
    put(tmp_path, f"{GBK_NAME}/1.jpg")
    found = walk_people(tmp_path)
    assert [os.fsencode(name) for name in found.people] == ["王芳".encode("gbk")]
    assert printable(GBK_NAME) == r"\xcd\xf5\xb7\xbc" and printable("jörg") == "jörg"


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    put(tmp_path, "people/anna/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "people" / "bert").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "people" / "anna" / "again").symlink_to(tmp_path / "people" / "anna")
    found = walk_people(tmp_path / "people")
    assert {name: [path.name for path in paths] for name, paths in found.people.items()} == {
        "anna": ["1.jpg"],
        "bert": ["2.jpg"],
    }


def test_all_photos_of_a_folder_without_people(tmp_path: Path) -> None:
    put(tmp_path, "b.jpg", "a/c.jpg", ".hidden/d.jpg")
    found = walk_photos(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in found.photos] == ["a/c.jpg", "b.jpg"]
    assert found.left_out == [Rejection(".hidden", HIDDEN)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="--input .*empty contains no photo"):
        walk_photos(tmp_path / "empty")


def test_folders_without_people_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--photos .*absent is not a folder; give one with a subfolder"):
        walk_people(tmp_path / "absent", "--photos")
    (tmp_path / "anna").mkdir()
    put(tmp_path, "1.jpg", "2.jpg")
    with pytest.raises(UserError, match="none of its 1 subfolder contains a photo, with 2 files beside them; expected"):
        walk_people(tmp_path)
    put(tmp_path, "a\nb/1.jpg")
    with pytest.raises(UserError, match="a b: the name contains a line break"):
        walk_people(tmp_path)
