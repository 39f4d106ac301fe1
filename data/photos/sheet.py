"""Show a sample of a set made of photos, the least sharp images of it, and photos that were left out, on one sheet."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.contact_sheet import Tile, write_sheet
from data.image import decode_image, decode_photo
from data.photos.photo import NOT_READABLE
from data.photos.walk import HIDDEN, LOOSE
from data.recordio.dataset import RecordIOImages, open_recordio
from data.rejected import NOT_DECODABLE, Rejection

_COLUMNS = 10
_SAMPLE, _LEAST_SHARP, _PER_REASON = 40, 10, 20
_NO_PHOTOS = (HIDDEN, LOOSE)


class Kept(NamedTuple):
    """An image of the set: its class, the photo's path below the folder of people, and its sharpness."""

    label: int
    file: str
    sharpness: float


def write_photo_sheet(
    path: Path, photos: Path, dataset: Path, size: int, kept: Sequence[Kept], rejections: Sequence[Rejection]
) -> None:
    """Write the sheet.

    Args:
        path: the JPEG to write.
        photos: the folder of people.
        dataset: the folder of train.rec, which holds ``kept`` in this order.
        size: height and width of the images in pixels.
        kept: the images of the set.
        rejections: what was left out.
    """
    draw = np.random.default_rng(0)
    sample = sorted(draw.permutation(len(kept))[:_SAMPLE].tolist())
    blurred = heapq.nsmallest(_LEAST_SHARP, range(len(kept)), key=lambda row: kept[row].sharpness)
    images = open_recordio(dataset)
    sections = [
        (f"{len(sample)} of {len(kept)} images, with their sharpness", _kept_tiles(images, size, kept, sample)),
        ("the least sharp", _kept_tiles(images, size, kept, blurred)),
    ]
    for reason in dict.fromkeys(rejection.reason for rejection in rejections if rejection.reason not in _NO_PHOTOS):
        left_out = [rejection for rejection in rejections if rejection.reason == reason]
        shown = [left_out[row] for row in sorted(draw.permutation(len(left_out))[:_PER_REASON].tolist())]
        title = f"left out: {reason}, {len(shown)} of {len(left_out)}"
        sections.append((title, [_rejected_tile(photos, rejection) for rejection in shown]))
    write_sheet(path, sections, _COLUMNS)


def _kept_tiles(images: RecordIOImages, size: int, kept: Sequence[Kept], rows: Sequence[int]) -> list[Tile]:
    encoded = [image for image, _ in images.read(rows)]
    return [
        Tile(decode_image(data, size), f"{kept[row].file}\n{kept[row].sharpness:.0f}")
        for data, row in zip(encoded, rows, strict=True)
    ]


def _rejected_tile(photos: Path, rejection: Rejection) -> Tile:
    has_picture = rejection.reason not in (NOT_DECODABLE, NOT_READABLE)
    image = decode_photo((photos / rejection.file).read_bytes()) if has_picture else None
    return Tile(image, f"{rejection.file}\n{rejection.details}")
