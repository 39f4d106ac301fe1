"""Choose what a clean set leaves out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from common.errors import UserError, lookup
from data.checking.check import IN_VERIFICATION, SEVERAL_PEOPLE, TWICE, CheckedSet, list_sizes
from data.checking.inspect import DAMAGED
from data.rejected import Rejection

# Number of an image, reason, details.
Fault = tuple[int, str, str]


def _unusable(checked: CheckedSet) -> Iterator[Fault]:
    unusable = checked.is_unusable
    return (each for each in checked.faults() if unusable[each[0]])


def _damaged(checked: CheckedSet) -> Iterator[Fault]:
    fault = checked.inspection.facts["fault"]
    return (each for each in checked.faults() if fault[each[0]] == DAMAGED)


def _duplicates(checked: CheckedSet) -> Iterator[Fault]:
    found = checked.duplicates
    for number, first in zip(found.numbers.tolist(), found.firsts.tolist(), strict=True):
        if not found.across[number]:
            yield number, TWICE, f"the same image as {checked.listing.describe(first)}"


def _several_people(checked: CheckedSet) -> Iterator[Fault]:
    for number in np.flatnonzero(checked.duplicates.across).tolist():
        yield number, SEVERAL_PEOPLE, "the same image lies under another person too"


def _in_verification(checked: CheckedSet) -> Iterator[Fault]:
    for shared in checked.shared:
        for number, other in zip(shared.numbers.tolist(), shared.others.tolist(), strict=True):
            yield number, IN_VERIFICATION, shared.listing.describe(other)


DROPPED: dict[str, tuple[Callable[[CheckedSet], Iterator[Fault]], str]] = {
    "bad": (_unusable, "cannot be decoded, has no class number, or has a wrong size (always dropped)"),
    "damaged": (_damaged, "JPEGs that are decoded only in part"),
    "duplicates": (_duplicates, "all but the first of equal images of one person"),
    "conflicts": (_several_people, "equal images of several people: all of them, because one label is wrong"),
    "verification": (_in_verification, "images that a verification set contains too"),
}
"""What can be dropped: function and description by name."""


def parse_kinds(text: str) -> list[str]:
    """Return the names in ``bad,damaged``; ``bad`` is always among them.

    Raises:
        UserError: a name is unknown.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        lookup(DROPPED, name, "kind of --drop")
    return [name for name in DROPPED if name == "bad" or name in names]


def choose_images(checked: CheckedSet, kinds: Iterable[str]) -> tuple[np.ndarray, list[Rejection]]:
    """Return which images stay (bool [N]), and the others with their reasons.

    Of equal images that are dropped for another reason, for example all copies under several people, none stays.

    Raises:
        UserError: no image would stay.
    """
    stays, rejected = np.ones(len(checked.listing), bool), list(checked.listing.damage)
    for kind in kinds:
        for number, reason, details in DROPPED[kind][0](checked):
            if stays[number]:
                stays[number] = False
                rejected.append(Rejection(checked.listing.describe(number), reason, details))
    if not stays.any():
        sizes = list_sizes(checked.inspection.facts)
        (height, width), _ = sizes[0] if sizes else ((0, 0), 0)
        other_size = (
            f"; most are {width}x{height}: --image_size {height}" if height == width != checked.image_size else ""
        )
        raise UserError(f"{checked.listing.path}: none of its {len(stays)} images would stay{other_size}")
    return stays, rejected


def choose_pairs(stays: np.ndarray) -> np.ndarray:
    """Return which pairs of a verification set stay: those whose two images do; bool [N / 2]."""
    even = len(stays) // 2 * 2
    return stays[0:even:2] & stays[1:even:2]
