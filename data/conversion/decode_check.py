"""Decode every image of a set to find the bad ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from common.progress import progress
from common.workers import map_in_threads
from data.image import DecodeError, ImageSizeError, decode_images, image_shape
from data.recordio.dataset import RecordIOImages
from data.rejected import NOT_DECODABLE, WRONG_SIZE

_TASK = 256  # images that a thread decodes at a time


class BadRow(NamedTuple):
    """An image that cannot be used: its row in the table, the kind of fault, details."""

    row: int
    reason: str
    details: str


def find_bad_images(images: RecordIOImages, num_workers: int) -> list[BadRow]:
    """Return the images that cannot be decoded or are not of the set's size, in the order of the file.

    The decoders work outside Python's lock, so threads keep all CPUs busy and start at once.

    Raises:
        UserError: the file cannot be read.
    """
    bad: list[BadRow] = []
    with open(images.path, "rb") as handle, progress(total=len(images), desc="decoding", unit="img") as bar:
        check = partial(_check_rows, images, handle.fileno())
        tasks = (range(first, min(first + _TASK, len(images))) for first in range(0, len(images), _TASK))
        with map_in_threads(check, tasks, num_workers) as results:
            for rows, found in results:
                bad += found
                bar.update(len(rows))
    return bad


def find_undecodable(encoded: Sequence[bytes], num_workers: int) -> list[tuple[int, str]]:
    """Return (number, reason) of the images that cannot be decoded; the same bytes object is decoded once."""
    first = {id(image): number for number, image in reversed(list(enumerate(encoded)))}
    different = sorted(first.values())
    reasons: dict[int, str] = {}
    with (
        progress(total=len(different), desc="decoding", unit="img") as bar,
        map_in_threads(_why_undecodable, (encoded[n] for n in different), num_workers) as found,
    ):
        for number, reason in zip(different, found, strict=True):
            reasons[number] = reason
            bar.update(1)
    numbered = ((number, reasons[first[id(image)]]) for number, image in enumerate(encoded))
    return [(number, reason) for number, reason in numbered if reason]


def _why_undecodable(encoded: bytes) -> str:
    try:
        image_shape(encoded)
    except DecodeError as error:
        return str(error)
    return ""


def _check_rows(images: RecordIOImages, handle: int, rows: range) -> tuple[range, list[BadRow]]:
    place = [np.empty((images.image_size, images.image_size, 3), np.uint8)]
    bad = []
    for row in rows:
        try:
            decode_images([images.read_encoded(row, handle)], images.image_size, place)
        except DecodeError as error:
            bad.append(BadRow(row, WRONG_SIZE if isinstance(error, ImageSizeError) else NOT_DECODABLE, str(error)))
    return rows, bad
