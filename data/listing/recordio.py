"""List the image records of a RecordIO file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from typing_extensions import override

from common.errors import UserError
from data.listing.base import NO_LABEL, Found, Listing, Request, read_names
from data.recordio.dataset import TO_ONE_SIZE, survey_recordio
from data.recordio.labels import PACK_AGAIN
from data.recordio.records import unpack_span
from data.rejected import Rejection


@dataclass(frozen=True)
class _RecordRequest(Request):
    path: Path
    begins: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    is_split: np.ndarray

    @override
    def read(self) -> Iterator[Found]:
        rows = (column.tolist() for column in (self.begins, self.lengths, self.labels, self.is_split))
        with _open(self.path) as handle:
            number = handle.fileno()
            for begin, length, label, is_split in zip(*rows, strict=True):
                if label == NO_LABEL:
                    yield Found(b"", problem="its label is not a class number (0, 1, 2, ...)")
                    continue
                span = os.pread(number, length, begin)
                yield Found(unpack_span(span)[1] if is_split else span, label)


class RecordListing(Listing):
    """The image records of a ``.rec`` file, in the order of the file.

    Attributes:
        file: the ``.rec`` file.
        keys: int64 [N], the key of each image.
    """

    kind = "recordio"

    def __init__(self, file: Path, path: Path) -> None:
        """List the records of ``file``, which is ``path`` or lies in it; damaged stretches are skipped and listed.

        Raises:
            UserError: the file cannot be read, or is empty.
        """
        super().__init__(path)
        self.file = file
        self.names = read_names(file.parent)
        images, self.problems, self.notes = survey_recordio(file)
        self.keys, self.labels = images.keys, images.labels
        self._images = images
        self.num_classes = images.property.num_classes if images.property else images.num_classes or None
        self.image_size = images.image_size or None
        for damage in images.damage:
            details = f"bytes {damage.begin} to {damage.end}: {damage.reason}"
            self.damage.append(Rejection(file.name, "damaged file", details))

    @property
    def label_problems(self) -> list[str]:
        """The problems because of which the labels are not the classes of the images."""
        return [problem for problem in self.problems if problem.endswith(PACK_AGAIN)]

    @property
    @override
    def size_problems(self) -> list[str]:
        return [problem for problem in self.problems if problem.endswith(TO_ONE_SIZE)]

    @override
    def __len__(self) -> int:
        return len(self.keys)

    @override
    def request(self, numbers: np.ndarray) -> Request:
        images = self._images
        starts = images.starts[numbers]
        begins = images.offsets[numbers] + starts
        return _RecordRequest(self.file, begins, images.lengths[numbers], images.labels[numbers], starts == 0)

    @override
    def describe(self, number: int) -> str:
        return f"{self.file.name}: key {self.keys[number]} at byte {self._images.offsets[number]}"

    @override
    def caption(self, number: int) -> str:
        return f"key {self.keys[number]}"


def _open(path: Path) -> IO[bytes]:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
