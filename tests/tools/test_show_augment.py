from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import UserError
from data.image import encode_jpeg
from data.ofrecord.records import encode_train_record, write_record
from tools import show_augment
from tools.show_augment import GAP, LABEL_WIDTH, list_rows, load_images, make_sheet

SIZE = 48


def run(monkeypatch: pytest.MonkeyPatch, **flags: object) -> None:
    monkeypatch.setattr(
        sys, "argv", ["x", *(str(word) for flag in flags.items() for word in (f"--{flag[0]}", flag[1]))]
    )
    show_augment.main()


def split_rows(sheet: np.ndarray, count: int) -> np.ndarray:
    """Return the images [rows, count, SIZE, SIZE, 3] of a sheet."""
    step = SIZE + GAP
    assert sheet.shape == (len(list_rows(SIZE)) * step, LABEL_WIDTH + count * step, 3)
    pictures = sheet[:, LABEL_WIDTH:].reshape(-1, step, count, step, 3).swapaxes(1, 2)
    return pictures[:, :, :SIZE, :SIZE]


def test_every_row_shows_its_effect() -> None:
    images = load_images("", 4, SIZE, seed=1)
    plain, *rows = split_rows(make_sheet(images, 1), 4)
    np.testing.assert_array_equal(plain, images)
    for (label, _), row in zip(list_rows(SIZE)[1:], rows, strict=True):
        changed = [np.abs(a.astype(int) - b).mean() > 1 for a, b in zip(row, plain, strict=True)]
        # By chance one may be turned or brightened by almost nothing; the recipes leave some as they are.
        assert sum(changed) >= (1 if ":" in label else 3), label
    np.testing.assert_array_equal(rows[0], plain[:, :, ::-1])


def test_each_image_has_numbers_of_its_own() -> None:
    image = load_images("", 1, SIZE, seed=1)[0]
    _, mirrored, *rows = split_rows(make_sheet([image] * 3, 1), 3)
    assert (mirrored[0] == mirrored[1]).all()
    assert all((row[0] != row[1]).any() or (row[1] != row[2]).any() for row in rows)


@pytest.mark.parametrize("name", ["sheet.png", "sheet.jpg"])
def test_faces_of_a_dataset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    faces = load_images("", 2, SIZE, seed=5)
    with open(tmp_path / "part-00000", "wb") as part:
        for face in faces:
            write_record(part, encode_train_record(encode_jpeg(face), 7))
    run(monkeypatch, output=tmp_path / name, dataset_dir=tmp_path, num_images=9, image_size=SIZE)
    sheet = cv2.imread(str(tmp_path / name), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_allclose(split_rows(sheet, 2)[0].mean(axis=(1, 2, 3)), np.mean(faces, axis=(1, 2, 3)), atol=3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"output": "a.gif"}, r"^--output a\.gif: the name must end in \.png or \.jpg$"),
        ({"output": "a.png", "num_images": 0}, "^--num_images 0 must be at least 1$"),
        ({"output": "a.png", "image_size": 8}, "^--image_size 8 must be at least 16$"),
        ({"output": "a.png", "dataset_dir": "absent"}, "^looked for OFRecord parts .* in absent"),
        ({"output": "/proc/none/a.png", "image_size": 16, "num_images": 1}, "^/proc/none/a.png cannot be written"),
    ],
)
def test_a_wrong_flag_is_one_line(monkeypatch: pytest.MonkeyPatch, flags: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(monkeypatch, **flags)
