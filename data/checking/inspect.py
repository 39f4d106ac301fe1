"""Decode every image of a listing, on several CPUs, and keep a few numbers of each."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from common.progress import progress
from common.workers import map_in_processes, map_in_threads
from data.image import DecodeError, decode_any_size
from data.listing import Listing, Request
from data.rejected import NOT_DECODABLE, Rejection

FACTS = np.dtype([("label", "<i4"), ("height", "<u2"), ("width", "<u2"), ("fault", "<u1"), ("pixels", "<u4")])
"""What is kept of an image, 13 bytes: its class, size, fault, and ``hash_pixels`` of it. No size, no image."""

INTACT, DAMAGED, UNDECODABLE, NO_IMAGE = range(4)
FAULTS = ("", "damaged JPEG", NOT_DECODABLE, "damaged record")
"""Reasons of rejection by fault; a damaged JPEG is decoded as far as possible."""

_CHUNK = 256
_MOST_THREADS = 8
Item, Result = TypeVar("Item"), TypeVar("Result")
_MAX_SIDE = (1 << 16) - 1


@dataclass(frozen=True)
class Inspection:
    """The result.

    Attributes:
        facts: ``FACTS`` [N].
        details: what is wrong with each image whose fault is not ``INTACT``, by its number.
    """

    facts: np.ndarray
    details: dict[int, str]

    def rejections(self, listing: Listing) -> list[Rejection]:
        """Return the images that have a fault."""
        return [
            Rejection(listing.describe(number), FAULTS[self.facts["fault"][number]], details)
            for number, details in self.details.items()
        ]


def inspect(listing: Listing, num_workers: int) -> Inspection:
    """Decode all images.

    Raises:
        UserError: a file cannot be read at all, or a process was killed.
    """
    facts, details, position = np.empty(len(listing), FACTS), {}, 0
    requests = listing.requests(np.arange(len(listing)), _CHUNK)
    with (
        progress(total=len(listing), desc=f"decoding {listing.path.name}", unit="img") as bar,
        map_decoding(inspect_request, requests, num_workers) as results,
    ):
        for rows, found in results:
            facts[position : position + len(rows)] = rows
            details.update((position + row, text) for row, text in found)
            position += len(rows)
            bar.update(len(rows))
    return Inspection(facts, details)


def map_decoding(
    function: Callable[[Item], Result], items: Iterable[Item], num_workers: int
) -> AbstractContextManager[Iterator[Result]]:
    """Give a block ``function(item)`` of every item in order, where most time of ``function`` goes into decoding.

    Decoders work outside Python's lock, so a few threads keep as many CPUs busy, and they start at once. The rest of
    the work, a tenth, would keep many threads waiting for the lock: then processes do it.
    """
    use = map_in_threads if num_workers <= _MOST_THREADS else map_in_processes
    return use(function, items, num_workers)


def inspect_request(request: Request) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Return ``FACTS`` [M] of the images of a request, and (row, what is wrong) of those with a fault."""
    rows, details = [], []
    for encoded, label, problem in request.read():
        fault, height, width, pixels = NO_IMAGE, 0, 0, 0
        if not problem:
            try:
                image, is_intact = decode_any_size(encoded)
            except DecodeError as error:
                fault, problem = UNDECODABLE, str(error)
            else:
                fault = INTACT
                height, width, _ = image.shape
                pixels = hash_pixels(image)
                if not is_intact:
                    fault, problem = DAMAGED, "decoded as far as possible"
                if max(height, width) > _MAX_SIDE:
                    fault, problem = UNDECODABLE, f"{width}x{height} pixels, more than {_MAX_SIDE} on a side"
                    height = width = pixels = 0
        if fault:
            details.append((len(rows), problem))
        rows.append((label, height, width, fault, pixels))
    return np.array(rows, FACTS), details


def hash_pixels(image: np.ndarray) -> int:
    """Return a checksum of the middle third of an image's rows, 32 bits: images with equal pixels have the same.

    It takes a thirtieth of the time of decoding. Whether images with the same one are equal, only comparing them tells.
    """
    height = len(image)
    return zlib.crc32(np.ascontiguousarray(image[height // 3 : height - height // 3]))
