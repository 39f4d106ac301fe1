"""Lists of images that a cleaned set leaves out: a CSV that a user may shorten.

    image,crc32,file,class,person,angle
    17,5bb1c0de,train.rec: key 18 at byte 94692,1,anna,81.3

The checksum is that of the picture's bytes: it tells whether a list belongs to a set.
"""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import UserError
from common.files import atomic_file
from common.text_files import read_text, reading_csv
from data.listing import Listing

DROP_FILE = "drop.csv"
_FIELDS = ("image", "crc32", "file", "class", "person", "angle")
_SHOWN = 10


class Dropped(NamedTuple):
    """An image, the class it has, and the angle to the centre of its person in degrees."""

    image: int
    label: int
    angle: float


def write_drop_list(path: str | Path, listing: Listing, dropped: Sequence[Dropped]) -> None:
    """Write the list.

    Raises:
        UserError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_FIELDS)
    for (image, label, angle), checksum in zip(dropped, _checksums(listing, [d.image for d in dropped]), strict=True):
        place, person = listing.describe(image), listing.class_name(label)
        writer.writerow((image, checksum, place, label, person, f"{angle:.1f}"))
    with atomic_file(path) as handle:
        handle.write(text.getvalue().encode("utf-8", "surrogateescape"))


def read_drop_list(path: str | Path, listing: Listing, labels: np.ndarray) -> list[Dropped]:
    """Read the list of a set whose images have the classes ``labels``, int [N].

    Raises:
        UserError: the file cannot be read, lacks a column, or is the list of another set; the messages name the lines.
    """
    reader = csv.DictReader(io.StringIO(read_text(path, keep_bytes=True)))
    with reading_csv(path):
        lacking = [name for name in _FIELDS[:2] if name not in (reader.fieldnames or ())]
        rows, problems = list(reader), []
    if lacking:
        raise UserError(f"{path}: its first line lacks {', '.join(lacking)}; expected {','.join(_FIELDS)}")
    texts = [(row["image"] or "").strip() for row in rows]
    numbers = [int(text) if text.isdecimal() and int(text) < len(listing) else -1 for text in texts]
    checksums = iter(_checksums(listing, [number for number in numbers if number >= 0]))
    for line, (row, text, number) in enumerate(zip(rows, texts, numbers, strict=True), start=2):
        if number < 0 or next(checksums) != row["crc32"]:
            problems.append(f"{path}, line {line}: image {text} of {listing.path} is not that of the list")
    if problems:
        more = [f"and {len(problems) - _SHOWN} more lines"] if len(problems) > _SHOWN else []
        raise UserError(*problems[:_SHOWN], *more, f"{path} is the list of another set; make it again with --model")
    angles = [row.get("angle") or "nan" for row in rows]
    return [
        Dropped(number, int(labels[number]), _to_float(angle)) for number, angle in zip(numbers, angles, strict=True)
    ]


def _checksums(listing: Listing, numbers: Sequence[int]) -> list[str]:
    """Return the CRC-32 of each picture's bytes."""
    return [f"{zlib.crc32(found.encoded):08x}" for found in listing.read(np.array(numbers, np.int64))]


def _to_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
