"""Find images that occur more than once: by the hashes of an inspection, confirmed by the images themselves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.workers import map_in_processes
from data.image import decode_any_size
from data.listing import Listing, Request

_CHUNK = 256


@dataclass(frozen=True)
class Duplicates:
    """Images with the same pixels as an earlier one.

    Attributes:
        numbers: int64 [D], the later images, ascending.
        firsts: int64 [D], the first image with the pixels of each.
        same_bytes: bool [D], whether the files are the same too, not only the pixels.
        across: bool [N] over all images of the set, whether an image's pixels occur under several classes.
    """

    numbers: np.ndarray
    firsts: np.ndarray
    same_bytes: np.ndarray
    across: np.ndarray


def find_duplicates(listing: Listing, facts: np.ndarray, num_workers: int) -> Duplicates:
    """Compare the images of a set with each other; ``facts`` is ``FACTS`` [N] of it.

    Images that cannot be decoded are not compared.
    """
    numbers, firsts = _candidates(facts["pixels"])
    same_pixels, same_bytes = compare_images(listing, numbers, listing, firsts, num_workers)
    numbers, firsts, same_bytes = numbers[same_pixels], firsts[same_pixels], same_bytes[same_pixels]
    labels, across = facts["label"], np.zeros(len(facts), bool)
    differs = np.zeros(len(facts), bool)
    differs[firsts[labels[numbers] != labels[firsts]]] = True
    across[numbers] = differs[firsts]
    across |= differs
    order = np.argsort(numbers)
    return Duplicates(numbers[order], firsts[order], same_bytes[order], across)


def find_shared(
    listing: Listing, facts: np.ndarray, other: Listing, other_facts: np.ndarray, num_workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find images of a set whose pixels occur in another one.

    Args:
        listing: the set.
        facts: its ``FACTS`` [N].
        other: the other set.
        other_facts: its ``FACTS`` [M].
        num_workers: number of processes.

    Returns:
        their numbers, int64 [S], and for each the number of an image with the same pixels in the other set, int64 [S].
    """
    pixels, where = np.unique(other_facts["pixels"], return_index=True)
    places = np.searchsorted(pixels, facts["pixels"])
    places[places == len(pixels)] = 0
    numbers = np.flatnonzero((pixels[places] == facts["pixels"]) & (facts["pixels"] != 0))
    others = where[places[numbers]]
    same_pixels, _ = compare_images(listing, numbers, other, others, num_workers)
    return numbers[same_pixels], others[same_pixels]


def _candidates(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images whose hash occurred before, and the first with each hash: int64 [D] both, group by group."""
    numbers = np.flatnonzero(pixels)
    order = np.argsort(pixels[numbers], kind="stable")
    numbers = numbers[order]
    hashes = pixels[numbers]
    is_first = np.r_[True, hashes[1:] != hashes[:-1]][: len(hashes)]
    firsts = numbers[is_first][np.cumsum(is_first) - 1]
    return numbers[~is_first], firsts[~is_first]


def compare_images(
    listing: Listing, numbers: np.ndarray, other: Listing, others: np.ndarray, num_workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compare image ``numbers[i]`` of a set with image ``others[i]`` of another.

    Returns:
        bool [D], whether the pixels are the same; bool [D], whether the bytes are.
    """
    pairs = zip(listing.requests(numbers, _CHUNK), other.requests(others, _CHUNK), strict=True)
    found = list(map_in_processes(_compare, pairs, num_workers))
    same = np.concatenate([np.empty((0, 2), bool), *found])
    return same[:, 0], same[:, 1]


def _compare(requests: tuple[Request, Request]) -> np.ndarray:
    """Return (same pixels, same bytes) of each pair, bool [M, 2]."""
    rows = []
    for one, another in zip(requests[0].read(), requests[1].read(), strict=True):
        same_bytes = one.encoded == another.encoded
        same_pixels = same_bytes or np.array_equal(*(decode_any_size(each.encoded)[0] for each in (one, another)))
        rows.append((same_pixels, same_bytes))
    return np.array(rows, bool).reshape(-1, 2)
