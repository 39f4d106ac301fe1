"""List the photos of a folder with one subfolder per person."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from typing_extensions import override

from data.listing.base import Found, Listing, Request
from data.photos.walk import printable, walk_people
from data.rejected import summarize


class PackedNames:
    """Many names in two arrays, because a list of strings takes several times the memory."""

    def __init__(self, names: Iterable[str]) -> None:
        ends, packed = [0], bytearray()
        for name in names:
            packed += os.fsencode(name)
            ends.append(len(packed))
        self._packed, self._ends = bytes(packed), np.array(ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> str:
        return os.fsdecode(self._packed[self._ends[number] : self._ends[number + 1]])


@dataclass(frozen=True)
class _FileRequest(Request):
    folder: Path
    names: list[str]
    labels: list[int]

    @override
    def read(self) -> Iterator[Found]:
        for name, label in zip(self.names, self.labels, strict=True):
            try:
                yield Found((self.folder / name).read_bytes(), label)
            except OSError as error:
                yield Found(b"", label, f"cannot be read: {error.strerror}")


class FolderListing(Listing):
    """The photos of a folder, person by person; classes are numbered in the order of the subfolders' names.

    Attributes:
        files: path of each photo below the folder.
        labels: int32 [N].
    """

    kind = "folder"

    def __init__(self, folder: Path) -> None:
        """List the files; their contents are not read.

        Raises:
            UserError: the folder cannot be read, or no person has a file.
        """
        super().__init__(folder)
        found = walk_people(folder, "DIR")
        self.names = [*found.people]
        self.num_classes = len(found.people)
        self.files = PackedNames(str(path.relative_to(folder)) for paths in found.people.values() for path in paths)
        counts = [len(paths) for paths in found.people.values()]
        self.labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        if found.left_out:
            self.notes.append(f"left out by name or place: {summarize(found.left_out)}")
        if found.empty:
            self.notes.append(
                f"people without a photo: {len(found.empty)} ({', '.join(map(printable, found.empty[:10]))})"
            )

    @override
    def __len__(self) -> int:
        return len(self.files)

    @override
    def request(self, numbers: np.ndarray) -> Request:
        names = [self.files[number] for number in numbers.tolist()]
        return _FileRequest(self.path, names, self.labels[numbers].tolist())

    @override
    def describe(self, number: int) -> str:
        return self.files[number]
