"""Check a set: decode it, count its classes, compare its images with each other and with verification sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.checking.classes import Classes, count_classes
from data.checking.duplicates import Duplicates, find_duplicates, find_shared
from data.checking.inspect import DAMAGED, FAULTS, INTACT, Inspection, inspect
from data.listing import Listing
from data.rejected import WRONG_SIZE, Rejection

TWICE, SEVERAL_PEOPLE, IN_VERIFICATION = "duplicate", "several people", "in verification set"


@dataclass(frozen=True)
class Shared:
    """Images of a training set that a verification set contains too.

    Attributes:
        listing: the verification set.
        numbers: int64 [S], the images in the training set.
        others: int64 [S], an equal image of each in the verification set.
    """

    listing: Listing
    numbers: np.ndarray
    others: np.ndarray


@dataclass(frozen=True)
class CheckedSet:
    """What a check found.

    Attributes:
        listing: the set.
        inspection: faults, sizes and hashes of its images.
        image_size: the height and width that its images should have; None if any will do.
        classes: its classes; None for a verification set.
        duplicates: images that occur more than once.
        shared: one entry per verification set.
    """

    listing: Listing
    inspection: Inspection
    image_size: int | None
    classes: Classes | None
    duplicates: Duplicates
    shared: list[Shared] = field(default_factory=list)

    @property
    def has_wrong_size(self) -> np.ndarray:
        """Which images can be decoded but have another size than ``image_size``, bool [N]."""
        facts = self.inspection.facts
        if self.image_size is None:
            return np.zeros(len(facts), bool)
        differs = (facts["height"] != self.image_size) | (facts["width"] != self.image_size)
        return differs & (facts["height"] > 0)

    @property
    def is_unusable(self) -> np.ndarray:
        """Which images training cannot use: without a decoded image or a class, or of a wrong size; bool [N]."""
        facts = self.inspection.facts
        return (facts["fault"] > DAMAGED) | self.has_wrong_size

    def faults(self) -> Iterator[tuple[int, str, str]]:
        """Yield number, reason and details of every image that is damaged, of a wrong size or not usable, in order."""
        facts, wrong_size = self.inspection.facts, self.has_wrong_size
        for number in np.flatnonzero((facts["fault"] != INTACT) | wrong_size).tolist():
            row = facts[number]
            if wrong_size[number]:
                found = f"{row['width']}x{row['height']}, expected {self.image_size}x{self.image_size}"
                yield number, WRONG_SIZE, found
            else:
                yield number, FAULTS[row["fault"]], self.inspection.details[number]

    def rejections(self) -> list[Rejection]:
        """Return stretches of damage and all faults, as lines of a list."""
        found = [Rejection(self.listing.describe(number), reason, text) for number, reason, text in self.faults()]
        return [*self.listing.damage, *found]


def check_set(
    listing: Listing, verification: Sequence[Listing], num_workers: int, image_size: int | None = None
) -> CheckedSet:
    """Check a set.

    Args:
        listing: the set.
        verification: verification sets that must not share images with it.
        num_workers: number of processes.
        image_size: the size that images should have; None: what the set says, or the size of its first images. The
            photos of a folder may then have any size.

    Raises:
        UserError: a file cannot be read at all, or a process was killed.
    """
    inspection = inspect(listing, num_workers)
    facts = inspection.facts
    classes = None if listing.issame is not None else count_classes(facts["label"], listing.num_classes)
    size = image_size or listing.image_size
    if size is None and listing.kind != "folder":
        size = most_frequent_size(facts)
    shared = []
    for each in verification:
        other_facts = inspect(each, num_workers).facts
        shared.append(Shared(each, *find_shared(listing, facts, each, other_facts, num_workers)))
    duplicates = find_duplicates(listing, facts, num_workers)
    return CheckedSet(listing, inspection, size, classes, duplicates, shared)


def most_frequent_size(facts: np.ndarray) -> int | None:
    """Return the side of the most frequent size, None if that is not a square or nothing was decoded."""
    sizes = list_sizes(facts)
    (height, width), _ = sizes[0] if sizes else ((0, 1), 0)
    return height if height == width else None


def list_sizes(facts: np.ndarray) -> list[tuple[tuple[int, int], int]]:
    """Return ((height, width), number of images) of every size, the most frequent first."""
    decoded = facts[facts["height"] > 0]
    packed = decoded["height"].astype(np.int64) << 16 | decoded["width"]
    sizes, counts = np.unique(packed, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [((int(sizes[i]) >> 16, int(sizes[i]) & 0xFFFF), int(counts[i])) for i in order]


def find_verification_sets(path: Path) -> list[Path]:
    """Return the ``.bin`` files that lie beside the training set ``path``, or in it."""
    folder = path if path.is_dir() else path.parent
    return sorted(each for each in folder.glob("*.bin") if each != path)
