"""What all listings have in common.

A listing numbers the images of a set 0 .. N-1. Reading goes through a request, a small object that can be sent to
another process:

    listing = open_listing("datasets/faces_orl")
    for found in listing.request(np.arange(10)).read():
        use(found.encoded, found.label)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from common.errors import UserError
from common.text_files import read_lines
from data.rejected import Rejection

CLASSES_FILE = "classes.txt"
NO_LABEL = -1
_READ_AT_ONCE = 256


class Found(NamedTuple):
    """An image as it lies in the set.

    Attributes:
        encoded: the bytes of the picture's file; empty if there is a problem.
        label: the class; ``NO_LABEL`` in a verification set, or if the record has none.
        problem: why the record holds no image of a class; empty if it does.
    """

    encoded: bytes
    label: int = NO_LABEL
    problem: str = ""


class Request(ABC):
    """Some images of a set. Small, and picklable."""

    @abstractmethod
    def read(self) -> Iterator[Found]:
        """Yield the images in the order in which they were requested; a damaged record becomes a problem.

        Raises:
            UserError: a file cannot be read at all.
        """


class Listing(ABC):
    """All images of a set.

    Attributes:
        kind: the kind of set: ``recordio``, ``ofrecord``, ``folder`` or ``bin``.
        path: its folder or file.
        damage: stretches of its files in which no record can be found.
        problems: what is wrong with the set as a whole, one line each.
        notes: what else the reader noticed, one line each.
        num_classes: number of classes that the set says it has; None if it does not say.
        image_size: height and width that the set says its images have; None if it does not say.
        labels: int32 [N], the class of each image, ``NO_LABEL`` for an image without one; None where only reading the
            records tells.
        names: name of each class, or None if they have no names.
        issame: bool [N / 2] of a verification set, in which images 2i and 2i + 1 are pair i; None for others.
    """

    kind: ClassVar[str]

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: list[Rejection] = []
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.num_classes: int | None = None
        self.image_size: int | None = None
        self.labels: np.ndarray | None = None
        self.names: list[str] | None = None
        self.issame: np.ndarray | None = None

    @property
    def label_problems(self) -> list[str]:
        """The problems because of which the labels are not the classes of the images."""
        return []

    @property
    def size_problems(self) -> list[str]:
        """The problems because of which training cannot use the images, and a folder of photos can."""
        return []

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def request(self, numbers: np.ndarray) -> Request:
        """Return a request of the images ``numbers``, int64 [M], in this order."""

    @abstractmethod
    def describe(self, number: int) -> str:
        """Return file, key and byte offset of an image, relative to ``path``."""

    def caption(self, number: int) -> str:
        """Return a few letters that name an image below its picture."""
        return self.describe(number)

    def requests(self, numbers: np.ndarray, size: int) -> Iterator[Request]:
        """Yield requests of ``size`` images each (fewer in the last) for the images ``numbers``, int64 [M]."""
        return (self.request(numbers[first : first + size]) for first in range(0, len(numbers), size))

    def read(self, numbers: np.ndarray) -> Iterator[Found]:
        """Yield the images ``numbers``, int64 [M], in this process."""
        for request in self.requests(numbers, _READ_AT_ONCE):
            yield from request.read()

    def class_name(self, label: int) -> str:
        """Return the name of a class, or its number."""
        return self.names[label] if self.names and label < len(self.names) else str(label)


def read_names(folder: Path) -> list[str] | None:
    """Return the names in ``classes.txt``, one line per class; None without the file. Bytes not in UTF-8 survive."""
    path = folder / CLASSES_FILE
    if not path.is_file():
        return None
    return read_lines(path, keep_bytes=True)


def write_names(folder: Path, names: Sequence[str]) -> None:
    """Write ``classes.txt``."""
    text = "".join(f"{name}\n" for name in names)
    (folder / CLASSES_FILE).write_bytes(text.encode("utf-8", "surrogateescape"))


def require_images(listing: Listing) -> Listing:
    """Check that a set has images.

    Raises:
        UserError: it has none; the message lists the damage, if that is why.
    """
    if len(listing) == 0:
        damage = [f"{each.file}: {each.reason}: {each.details}" for each in listing.damage]
        raise UserError(*damage, f"{listing.path} contains no images")
    return listing
