"""Find images that occur more than once: the hashes of an inspection name candidates, the images decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.checking.inspect import map_decoding
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

    The pixels decide, so pictures in different formats, or with other metadata, can be equal. Images that cannot be
    decoded are not compared.
    """
    keys, rest = _keys(facts), np.flatnonzero(facts["height"])
    nothing = np.zeros(0, np.int64)
    found = [(nothing, nothing, nothing.astype(bool))]  # all there is if no image can be used
    while len(rest):
        numbers, firsts = _candidates(keys, rest)
        same_pixels, same_bytes = compare_images(listing, numbers, listing, firsts, num_workers)
        found.append((numbers[same_pixels], firsts[same_pixels], same_bytes[same_pixels]))
        rest = np.sort(numbers[~same_pixels])  # differ from the first with their hash, maybe not from each other
    numbers, firsts, same_bytes = (np.concatenate(column) for column in zip(*found, strict=True))
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
    keys, other_keys = _keys(facts), _keys(other_facts)
    order = np.argsort(other_keys, kind="stable")
    begins, ends = (np.searchsorted(other_keys[order], keys, side) for side in ("left", "right"))
    ends[facts["height"] == 0] = begins[facts["height"] == 0]
    found_numbers, found_others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    numbers = np.flatnonzero(begins < ends)
    while len(numbers):
        others = order[begins[numbers]]
        same_pixels, _ = compare_images(listing, numbers, other, others, num_workers)
        found_numbers.append(numbers[same_pixels])
        found_others.append(others[same_pixels])
        begins[numbers] += 1
        numbers = numbers[~same_pixels & (begins[numbers] < ends[numbers])]
    numbers, others = np.concatenate(found_numbers), np.concatenate(found_others)
    order = np.argsort(numbers, kind="stable")
    return numbers[order], others[order]


def _keys(facts: np.ndarray) -> np.ndarray:
    """Return what images with equal pixels have in common, uint64 [N]: the size, and the hash."""
    size = facts["height"].astype(np.uint64) << np.uint64(48) | facts["width"].astype(np.uint64) << np.uint64(32)
    return size | facts["pixels"]


def _candidates(keys: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return those of the images ``numbers`` whose key occurred before, and the first image with each of these keys.

    Both are int64 [D], ordered by key.
    """
    numbers = numbers[np.argsort(keys[numbers], kind="stable")]
    found = keys[numbers]
    is_first = np.r_[True, found[1:] != found[:-1]]
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
    with map_decoding(_compare, pairs, num_workers) as found:
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
