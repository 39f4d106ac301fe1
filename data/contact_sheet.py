"""Draw contact sheets: rows of small pictures with captions, below titles.

sections = [("kept", [Tile(image, "anna/1.jpg")]), ("left out", [Tile(photo, "anna/2.jpg\\nno face")])]
write_sheet("sheet.jpg", sections)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common.errors import UserError
from common.files import atomic_file
from data.image import encode_jpeg

_GAP = 6
_TEXT_SIZE, _TITLE_SIZE = 11, 15
_LINE, _TITLE_LINE = _TEXT_SIZE + 3, _TITLE_SIZE + 9
_MAX_HEIGHT = 65500  # of a JPEG
_EMPTY = 224
_EAST_ASIAN_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "PingFang SC", "Arial Unicode MS"),
)
"""Fonts of the system for captions that DejaVu Sans cannot write; without one their letters are empty boxes."""


class Tile(NamedTuple):
    """A picture of a sheet.

    Attributes:
        image: uint8 [H, W, 3] RGB of any size, or None where there is none to show.
        caption: text below it, one or several lines; a line that is too long loses its middle.
    """

    image: np.ndarray | None
    caption: str = ""


def draw_sheet(
    sections: Sequence[tuple[str, Sequence[Tile]]], columns: int = 8, size: int | tuple[int, int] = 112
) -> np.ndarray:
    """Return the sheet, uint8 [H, W, 3] RGB.

    Args:
        sections: title and tiles of each section; a section without tiles shows its title alone.
        columns: number of tiles in a row.
        size: pixels of a tile's side, or its width and height; larger and smaller images are scaled to fit.

    Raises:
        UserError: the sheet would be higher than a picture can be.
    """
    tile_width, tile_height = (size, size) if isinstance(size, int) else size
    lines = 1 + max((tile.caption.count("\n") for _, tiles in sections for tile in tiles), default=0)
    row_height = tile_height + lines * _LINE + _GAP
    rows = [-(-len(tiles) // columns) for _, tiles in sections]
    width, height = _GAP + columns * (tile_width + _GAP), _GAP + len(rows) * _TITLE_LINE + sum(rows) * row_height
    if height > _MAX_HEIGHT:
        raise UserError(f"a sheet of {sum(rows)} rows is too high for a picture; show fewer images")
    sheet = Image.new("RGB", (width, height), "white")
    file = _find_font("".join(title + "".join(tile.caption for tile in tiles) for title, tiles in sections))
    font, title_font = ImageFont.truetype(file, _TEXT_SIZE), ImageFont.truetype(file, _TITLE_SIZE)
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for (title, tiles), count in zip(sections, rows, strict=True):
        draw.text((_GAP, top), _shorten(title, title_font, width - 2 * _GAP), "black", title_font)
        top += _TITLE_LINE
        for number, tile in enumerate(tiles):
            left, place = _GAP + number % columns * (tile_width + _GAP), top + number // columns * row_height
            sheet.paste(Image.fromarray(_fit(tile.image, tile_width, tile_height)), (left, place))
            for line, text in enumerate(tile.caption.split("\n")):
                draw.text((left, place + tile_height + line * _LINE), _shorten(text, font, tile_width), "black", font)
        top += count * row_height
    return np.asarray(sheet)


def write_sheet(
    path: str | Path,
    sections: Sequence[tuple[str, Sequence[Tile]]],
    columns: int = 8,
    size: int | tuple[int, int] = 112,
) -> None:
    """Write the sheet of ``draw_sheet`` as a JPEG.

    Raises:
        UserError: the sheet would be too high, or the file cannot be written.
    """
    encoded = encode_jpeg(draw_sheet(sections, columns, size), quality=90)
    with atomic_file(path) as handle:
        handle.write(encoded)


def _find_font(text: str) -> str:
    """Return the file of a font for ``text``: DejaVu Sans, which matplotlib brings, if possible."""
    import matplotlib

    if max(text, default="") >= "\N{CJK RADICAL REPEAT}":
        from matplotlib.font_manager import fontManager  # here, because it lists the fonts of the system

        files = {font.name: font.fname for font in fontManager.ttflist}
        for name in _EAST_ASIAN_FONTS:
            if name in files:
                return files[name]
    return os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def _fit(image: np.ndarray | None, tile_width: int, tile_height: int) -> np.ndarray:
    """Return the image in the middle of a grey tile, scaled to fit it."""
    tile = np.full((tile_height, tile_width, 3), _EMPTY, np.uint8)
    if image is None:
        return tile
    scale = min(tile_width / image.shape[1], tile_height / image.shape[0])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    if (height, width) != image.shape[:2]:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    top, left = (tile_height - height) // 2, (tile_width - width) // 2
    tile[top : top + height, left : left + width] = image
    return tile


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Replace the middle of a text by an ellipsis until it fits; bytes that are not UTF-8 become question marks."""
    text = text.encode("utf-8", "replace").decode()
    if font.getlength(text) <= width:
        return text
    for keep in range(min(len(text), 200) - 1, 1, -1):
        short = f"{text[: keep // 2]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - keep + keep // 2 :]}"
        if font.getlength(short) <= width:
            return short
    return ""
