"""A folder of people as a user has it: real photographs, many formats and sizes, and files that systems leave there."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from tools.dataset_convert.orl_2_recordio import picture_folder, read_picture

NAMES = ("Anna Berg", "Jörg Müller", "王芳", "josé", "Łukasz")
GBK_NAME = "李伟".encode("gbk")
TRAIN_PEOPLE, OTHER_PEOPLE = range(1, 16), range(16, 36)


def orl(person: int, number: int) -> np.ndarray:
    """One of ten pictures of one of forty people, uint8 [112, 112, 3]."""
    return cv2.imdecode(np.frombuffer(read_picture(picture_folder(), person, number), np.uint8), cv2.IMREAD_COLOR)


def package_picture(package: str, name: str) -> Path:
    """Return the path of a picture that a package brings, without importing the package."""
    return Path(importlib.util.find_spec(package).submodule_search_locations[0]) / name


def group_photo() -> Path:
    """Six people."""
    return package_picture("insightface", "data/images/t1.jpg")


def hanks() -> Path:
    """A portrait of one person."""
    return package_picture("insightface", "data/images/Tom_Hanks_54745.png")


def astronaut() -> Path:
    """A portrait of one person, 512x512."""
    return package_picture("skimage", "data/astronaut.png")


def encode(picture: np.ndarray, suffix: str) -> bytes:
    """Return the bytes of an image file, of BGR or grey pixels."""
    return cv2.imencode(suffix, picture)[1].tobytes()


def write_person(folder: Path, person: int, count: int) -> None:
    """Write pictures of a person of ORL in formats and sizes that differ."""
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        picture = orl(person, number)
        kind = number % 4
        if kind == 1:
            (folder / f"{number}.png").write_bytes(encode(picture, ".png"))
        elif kind == 2:
            (folder / f"photo {number}.JPEG").write_bytes(encode(picture[..., 0], ".jpg"))  # one channel
        elif kind == 3:
            (folder / f"IMG_{number}").write_bytes(encode(cv2.resize(picture, (250, 250)), ".jpg"))  # no suffix
        else:
            (folder / f"{number}.jpg").write_bytes(encode(picture, ".jpg"))


def write_strangers_folder(root: Path, pictures: int = 10) -> None:
    """Write ``photos`` with 18 people and ``others`` with 20 other people below ``root``.

    Args:
        root: an existing folder.
        pictures: pictures of each person of ORL, 1 to 10.
    """
    for person in TRAIN_PEOPLE:
        name = os.fsdecode(GBK_NAME) if person == 6 else dict(enumerate(NAMES, 1)).get(person, f"person {person}")
        write_person(root / "photos" / name, person, 1 if person == 7 else pictures)
    for person in OTHER_PEOPLE:
        write_person(root / "others" / f"other {person}", person, pictures)
    photos = root / "photos"
    for name, picture in (("astronaut", astronaut()), ("hanks", hanks()), ("group", group_photo())):
        (photos / name / "album").mkdir(parents=True)
        shutil.copy(picture, photos / name / "album")
    (photos / "nobody").mkdir()
    (photos / ".ipynb_checkpoints").mkdir()
    shutil.copy(hanks(), photos / ".ipynb_checkpoints" / "hanks-checkpoint.png")
    (photos / "notes.txt").write_text("who is who")
    (photos / NAMES[0] / "._1.jpg").write_bytes(b"\0\5\x16\7" + bytes(100))
    (photos / NAMES[0] / "names.txt").write_text("a text")
    whole = encode(orl(2, 1), ".jpg")
    (photos / NAMES[1] / "cut.jpg").write_bytes(whole[: len(whole) // 20])
    (photos / NAMES[1] / "half.jpg").write_bytes(whole[: len(whole) // 2])  # the upper half can be decoded
