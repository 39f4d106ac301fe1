"""What a set made of photos shows on its sheet, and that nothing is left of one that fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import UserError
from data.contact_sheet import Tile
from data.photos import build, sheet
from data.photos.build import write_photo_dataset
from data.photos.prepare import PhotoRules
from data.photos.walk import walk_people
from data.sources.synthetic import SyntheticSource

SIZE = 32
IMAGES = [image for image, _ in map(SyntheticSource(60, 60, image_size=SIZE).read, range(60))]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Sixty people with a photo each, the fourth of which is blurred, and what cannot be used."""
    for number, image in enumerate(IMAGES):
        folder = tmp_path / "photos" / f"{number:02d}"
        folder.mkdir(parents=True)
        image = cv2.GaussianBlur(image, (0, 0), 4) if number == 3 else image
        (folder / "a.png").write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    (tmp_path / "photos" / "00" / ".b.png").write_bytes(b"")
    (tmp_path / "photos" / "01" / "small.png").write_bytes(cv2.imencode(".png", IMAGES[1][:8, :8, ::-1])[1].tobytes())
    (tmp_path / "photos" / "02" / "text").write_bytes(b"text")
    return tmp_path / "photos"


def test_the_sheet_shows_a_sample_the_least_sharp_and_what_was_left_out(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[Sequence[tuple[str, Sequence[Tile]]]] = []
    monkeypatch.setattr(sheet, "write_sheet", lambda path, sections, columns: sheets.append(sections))
    made = write_photo_dataset(walk_people(photos), tmp_path / "set", PhotoRules(SIZE, resize=True, min_size=9))
    sections = dict(sheets[0])
    assert list(sections) == [
        "40 of 60 images, with their sharpness",
        "the least sharp",
        "left out: too small, 1 of 1",
        "left out: not decodable, 1 of 1",
    ]
    for tile in sections["40 of 60 images, with their sharpness"]:
        person = int(tile.caption[:2])
        assert person == 3 or np.array_equal(tile.image, IMAGES[person])
        assert tile.caption == f"{person:02d}/a.png\n{made.kept[person].sharpness:.0f}"
    blurred = sections["the least sharp"]
    assert len(blurred) == 10 and blurred[0].caption.startswith("03/a.png\n")
    (small,), (text,) = list(sections.values())[2:]
    assert small.caption == "01/small.png\n8x8 pixels" and np.array_equal(small.image, IMAGES[1][:8, :8])
    assert text.image is None and text.caption.startswith("02/text\n4 bytes")


def test_a_full_disk_is_one_line_and_leaves_nothing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(build, "_images_table", fail)
    with pytest.raises(UserError, match="images.csv cannot be written .No space left on device"):
        write_photo_dataset(walk_people(photos), tmp_path / "set", PhotoRules(SIZE, resize=True, min_size=9))
    assert os.listdir(tmp_path) == ["photos"]
