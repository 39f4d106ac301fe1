from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import UserError
from data import contact_sheet
from data.contact_sheet import Tile, draw_sheet, write_sheet

RED, GREEN, GREY = (255, 0, 0), (0, 255, 0), (224, 224, 224)


def filled(colour: tuple[int, int, int], height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def find(sheet: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the pixels of a colour, which fill a rectangle."""
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    rectangle = columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
    assert len(rows) == rectangle[2] * rectangle[3]
    return tuple(int(value) for value in rectangle)


def test_tiles_lie_in_rows_below_their_title() -> None:
    small, wide = Tile(filled(RED, 20, 20), "a"), Tile(filled(GREEN, 100, 200), "b")
    sheet = draw_sheet([("kept", [small, Tile(None), wide]), ("left out", [])], columns=2, size=40)
    red, green = find(sheet, RED), find(sheet, GREEN)
    assert red[2:] == (40, 40) and green[2:] == (40, 20)
    assert green[0] == red[0] and green[1] > red[1] + 40  # the third of two columns begins a row
    assert sheet.shape[1] == 2 * 40 + 3 * 6
    assert (sheet[red[1], red[0] + 46 : red[0] + 86] == GREY).all()  # the tile without an image


def test_tiles_may_be_wider_than_high() -> None:
    square, wide = Tile(filled(RED, 40, 40), "a"), Tile(filled(GREEN, 20, 40))
    sheet = draw_sheet([("pairs", [wide, square])], columns=2, size=(80, 40))
    red, green = find(sheet, RED), find(sheet, GREEN)
    assert green[2:] == (80, 40) and red == (green[0] + 86 + 20, green[1], 40, 40)
    assert sheet.shape[1] == 2 * 80 + 3 * 6


def test_captions_are_text_that_fits_the_tile() -> None:
    image = filled(RED, 50, 50)

    def dark(caption: str) -> np.ndarray:
        sheet = draw_sheet([("", [Tile(image, caption), Tile(image)])], columns=2, size=50)
        return np.argwhere((sheet < 100).all(axis=2))

    assert len(dark("")) == 0
    for caption in ("anna/photo.jpg" * 9, "\udcb0\udca1", "\N{LATIN SMALL LETTER U WITH DIAERESIS}"):
        found = dark(caption)
        assert len(found) and found[:, 1].max() < 6 + 50  # nothing runs into the next tile
    two = dark("a\nb")
    assert np.ptp(two[:, 0]) > 12


def test_chinese_captions_are_written_with_a_font_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(caption: str) -> np.ndarray:
        return draw_sheet([("", [Tile(filled(RED, 50, 50), caption)])])

    monkeypatch.setattr(contact_sheet, "_EAST_ASIAN_FONTS", ("absent",))
    without, latin = draw("a 王芳"), draw("a")
    monkeypatch.setattr(contact_sheet, "_EAST_ASIAN_FONTS", ("absent", "DejaVu Serif"))  # stands for a Chinese font
    assert not np.array_equal(draw("a 王芳"), without) and np.array_equal(draw("a"), latin)


def test_a_sheet_is_a_jpeg_and_never_too_high(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.jpg", [("t", [Tile(filled(RED, 8, 8), "c")] * 5)], columns=3, size=30)
    picture = cv2.imread(str(tmp_path / "sheet.jpg"))
    assert picture.shape[1] == 3 * 36 + 6
    with pytest.raises(UserError, match="a sheet of 2000 rows is too high"):
        draw_sheet([("t", [Tile(None)] * 2000)], columns=1)
