"""Decode every image of a listing, on several processes, and keep a few numbers of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np

from common.progress import progress
from common.workers import map_in_processes
from data.image import DecodeError, decode_any_size
from data.listing import Listing, Request
from data.rejected import NOT_DECODABLE, Rejection

FACTS = np.dtype([("label", "<i4"), ("height", "<u2"), ("width", "<u2"), ("fault", "<u1"), ("pixels", "<u8")])
"""What is kept of an image, 17 bytes. ``pixels`` is a hash of the decoded image; 0, like the size, if there is none."""

INTACT, DAMAGED, UNDECODABLE, NO_IMAGE = range(4)
FAULTS = ("", "damaged JPEG", NOT_DECODABLE, "damaged record")
"""Reasons of rejection by fault; a damaged JPEG is decoded as far as possible."""

_CHUNK = 256
_MAX_SIDE = (1 << 16) - 1
_HASHED_WORDS = 3 * 256 * 256 // 8
_SEED = 112
_HALF = np.uint64(32)


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
    with progress(total=len(listing), desc=f"decoding {listing.path.name}", unit="img") as bar:
        for rows, found in map_in_processes(inspect_request, requests, num_workers):
            facts[position : position + len(rows)] = rows
            details.update((position + row, text) for row, text in found)
            position += len(rows)
            bar.update(len(rows))
    return Inspection(facts, details)


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
    """Return a hash of the pixels of an image, 64 bits, above 0. Images of different shapes may have the same.

    Faces take the sum of random multiples of their 64-bit words, modulo 2^64, in a tenth of the time of decoding; the
    upper half of a word is mixed into the lower one, because products carry upwards only. Large photos take BLAKE2.
    """
    if image.size % 8 or image.size > 8 * _HASHED_WORDS:
        mixed = int.from_bytes(hashlib.blake2b(np.ascontiguousarray(image), digest_size=8).digest(), "little")
    else:
        words = np.ascontiguousarray(image).reshape(-1).view(np.uint64)
        mixed = int(np.dot(words ^ (words >> _HALF), _multipliers()[: len(words)]))
    return mixed or 1


@cache
def _multipliers() -> np.ndarray:
    return np.random.Generator(np.random.Philox(_SEED)).integers(0, 1 << 64, _HASHED_WORDS, np.uint64) | np.uint64(1)
