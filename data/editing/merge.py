"""Join training sets: which class of each set becomes which class of the joint one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from common.errors import UserError
from data.editing.same_people import SamePerson
from data.editing.write_set import NewSet, Selection
from data.image import DecodeError, image_shape
from data.label_map import write_label_map
from data.listing import Listing
from data.listing.intact import open_intact


@dataclass(frozen=True)
class SourceSet:
    """A set to be joined.

    Attributes:
        listing: its images.
        labels: int32 [N], the class of each.
        num_classes: number of classes, those without images included.
    """

    listing: Listing
    labels: np.ndarray
    num_classes: int

    @classmethod
    def open(cls, path: str | Path, num_workers: int = 1) -> SourceSet:
        """Open a training set without damage.

        Raises:
            UserError: it is not a training set, parts of it are damaged, or images have no class.
        """
        listing, labels = open_intact(path, num_workers)
        return cls(listing, labels, max(int(labels.max()) + 1, listing.num_classes or 0))


def open_sources(paths: Sequence[str | Path], num_workers: int = 1) -> list[SourceSet]:
    """Open the sets to be joined.

    Raises:
        UserError: a set cannot be used; the messages name the problems of all.
    """
    sources, problems = [], []
    for path in paths:
        try:
            sources.append(SourceSet.open(path, num_workers))
        except UserError as error:
            problems += str(error).splitlines()
    if problems:
        raise UserError(*problems)
    return sources


def plan_merge(
    sources: Sequence[SourceSet], same: Sequence[SamePerson] = (), same_labels: bool = False
) -> list[np.ndarray]:
    """Return for each set the new class of each of its classes, int64 [C]; -1 for a class without images.

    Classes get consecutive numbers: those of the first set in their order, then those of the second, and so on. A
    person who is in several sets, or in one set twice, gets the number of its first class. With ``same_labels`` equal
    class numbers are one person in all sets.
    """
    counts = [source.num_classes for source in sources]
    starts = np.concatenate([[0], np.cumsum(counts)])
    pairs = [(starts[p.set_1 - 1] + p.class_1, starts[p.set_2 - 1] + p.class_2) for p in same]
    joined = [np.array(pairs, np.int64).reshape(-1, 2)]
    if same_labels:
        largest = starts[np.argmax(counts)]
        joined += [np.arange(count)[:, None] + [largest, start] for start, count in zip(starts, counts, strict=False)]
    firsts = join_classes(int(starts[-1]), np.concatenate(joined))
    has_images = np.zeros(starts[-1], bool)
    for start, source in zip(starts[:-1], sources, strict=True):
        has_images[firsts[start + source.labels.astype(np.int64)]] = True
    numbers = np.where(has_images, np.cumsum(has_images) - 1, -1)[firsts]
    return np.split(numbers, starts[1:-1])


def join_classes(count: int, pairs: np.ndarray) -> np.ndarray:
    """Return for each of ``count`` classes the first of those that pairs (int64 [M, 2]) join with it, int64 [count]."""
    links = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (count, count))
    _, groups = connected_components(links, directed=False)
    _, firsts = np.unique(groups, return_index=True)
    return firsts[groups]


def merged_set(sources: Sequence[SourceSet], new_classes: Sequence[np.ndarray], num_parts: int) -> NewSet:
    """Return the joint set.

    Raises:
        UserError: the sets' images differ in size.
    """
    selections = [
        Selection(source.listing, np.arange(len(source.labels)), classes[source.labels])
        for source, classes in zip(sources, new_classes, strict=True)
    ]
    num_classes = 1 + max(int(classes.max()) for classes in new_classes)
    names = name_classes([source.listing for source in sources], new_classes)
    return NewSet(selections, num_classes, common_size([source.listing for source in sources]), names, num_parts)


def name_classes(listings: Sequence[Listing], new_classes: Sequence[np.ndarray]) -> list[str] | None:
    """Return the names of the new classes: each that of its first class, with the set's name where two are the same.

    None if no set has names.
    """
    if not any(listing.names for listing in listings):
        return None
    names: dict[int, str] = {}
    taken: set[str] = set()
    for listing, classes in zip(listings, new_classes, strict=True):
        for old, new in enumerate(classes.tolist()):
            if new < 0 or new in names:
                continue
            name = listing.class_name(old)
            if not listing.names or name in taken:
                name = f"{listing.path.name}_{name}"
            while name in taken:  # the sets' folders have one name
                name += "_"
            names[new] = name
            taken.add(name)
    return [names[new] for new in range(len(names))]


def common_size(listings: Sequence[Listing]) -> int:
    """Return the size of the images of all sets, by what they say or by their first image.

    Raises:
        UserError: the sizes differ, or are not square.
    """
    sizes = {str(listing.path): first_size(listing) for listing in listings}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{path} {height}x{width}" for path, (height, width) in sizes.items())
        raise UserError(f"the sets have images of different sizes: {found}; convert them to one size first")
    height, width = next(iter(sizes.values()))
    if height != width:
        raise UserError(f"the images are {width}x{height} pixels; only square ones can be used")
    return height


def first_size(listing: Listing) -> tuple[int, int]:
    """Return (height, width) of a set's images.

    Raises:
        UserError: the set does not say, and its first image cannot be decoded.
    """
    if listing.image_size:
        return listing.image_size, listing.image_size
    try:
        return image_shape(next(listing.read(np.arange(1))).encoded)
    except DecodeError as error:
        raise UserError(f"{listing.path}: {listing.describe(0)}: {error}") from error


def write_label_maps(directory: Path, sources: Sequence[SourceSet], new_classes: Sequence[np.ndarray]) -> None:
    """Write ``label_map_1.txt``, ``label_map_2.txt``, ...: the old and the new class of each set."""
    for number, (source, classes) in enumerate(zip(sources, new_classes, strict=True), start=1):
        about = [f"classes of {source.listing.path.name}, set {number}, that became classes of the joint set"]
        write_label_map(directory / f"label_map_{number}.txt", classes, about)
