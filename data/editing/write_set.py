"""Write a training set from images of other sets: as recordio, as OFRecord parts, or as a folder of photos."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.progress import progress
from data.listing import Listing
from data.listing.base import write_names
from data.listing.recordio import RecordListing
from data.ofrecord.records import SUCCESS_FILE, encode_train_record, write_dataset_info, write_record
from data.photos.walk import HIDDEN_PREFIXES
from data.recordio.writer import write_insightface_recordio

_BATCH = 256
_SUFFIXES = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"BM", ".bmp"), (b"RIFF", ".webp"), (b"GIF8", ".gif"))
_OTHER_SUFFIX = ".img"


@dataclass(frozen=True)
class Selection:
    """Images of one set that are written.

    Attributes:
        listing: the set.
        numbers: int64 [M], the images.
        labels: int64 [M], the class of each in the set to be written.
    """

    listing: Listing
    numbers: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class NewSet:
    """A set to be written.

    Attributes:
        selections: its images.
        num_classes: number of classes, each of which has an image.
        image_size: height and width; None if they differ, which only a folder may.
        names: names of the classes, or None.
        num_parts: number of parts of an OFRecord set.
    """

    selections: Sequence[Selection]
    num_classes: int
    image_size: int | None
    names: Sequence[str] | None = None
    num_parts: int = 1

    def __len__(self) -> int:
        return sum(len(each.numbers) for each in self.selections)

    def read(self, by_class: bool) -> Iterator[tuple[bytes, int, int, int]]:
        """Yield (encoded image, class, number of the selection, number of the image in its listing).

        The order is that of the selections, or by class.

        Raises:
            UserError: an image can no longer be read.
        """
        labels = np.concatenate([each.labels for each in self.selections])
        numbers = np.concatenate([each.numbers for each in self.selections])
        sources = np.repeat(np.arange(len(self.selections)), [len(each.numbers) for each in self.selections])
        order = np.argsort(labels, kind="stable") if by_class else np.arange(len(labels))
        for first in progress(range(0, len(order), _BATCH), desc="writing", unit="batch"):
            rows = order[first : first + _BATCH]
            yield from self._read_rows(labels[rows], numbers[rows], sources[rows])

    def _read_rows(
        self, labels: np.ndarray, numbers: np.ndarray, sources: np.ndarray
    ) -> Iterator[tuple[bytes, int, int, int]]:
        encoded: list[bytes] = [b""] * len(labels)
        for source in np.unique(sources).tolist():
            listing, places = self.selections[source].listing, np.flatnonzero(sources == source)
            found_images = listing.request(numbers[places]).read()
            for place, found in zip(places.tolist(), found_images, strict=True):
                if found.problem:
                    raise UserError(f"{listing.path}: {listing.describe(int(numbers[place]))}: {found.problem}")
                encoded[place] = found.encoded
        yield from zip(encoded, labels.tolist(), sources.tolist(), numbers.tolist(), strict=True)


def write_recordio(directory: Path, new: NewSet) -> None:
    """Write ``train.rec``, ``train.idx`` and ``property``, sorted by class."""
    images = ((encoded, label) for encoded, label, _, _ in new.read(by_class=True))
    write_insightface_recordio(directory, images, new.num_classes, new.image_size)
    if new.names:
        write_names(directory, new.names)


def write_ofrecord(directory: Path, new: NewSet) -> None:
    """Write OFRecord parts of equal size, in the order of the selections."""
    num_parts = min(new.num_parts, len(new))
    ends = np.linspace(0, len(new), num_parts + 1).round().astype(int)[1:].tolist()
    images = enumerate(new.read(by_class=False), start=1)
    for part, end in enumerate(ends):
        with open(directory / f"part-{part:05d}", "wb") as handle:
            for count, (encoded, label, _, _) in images:
                write_record(handle, encode_train_record(encoded, label))
                if count == end:
                    break
    info = {"num_images": len(new), "num_classes": new.num_classes, "image_size": new.image_size}
    write_dataset_info(directory, {**info, "num_parts": num_parts, "shuffle_seed": None})
    if new.names:
        write_names(directory, new.names)
    (directory / SUCCESS_FILE).touch()


def write_folder(directory: Path, new: NewSet) -> None:
    """Write a folder of photos per class that has any, with unchanged bytes: files of a folder keep their names."""
    folders = name_folders(new.num_classes, new.names)
    for encoded, label, source, number in new.read(by_class=False):
        path = directory / folders[label] / name_photo(new.selections[source].listing, number, encoded)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():  # two folders became one
            path = path.with_name(f"{path.stem}-{source}-{number}{path.suffix}")
        with open(path, "xb") as handle:
            handle.write(encoded)


def name_folders(num_classes: int, names: Sequence[str] | None) -> list[str]:
    """Return the name of each class's folder: its own if all can be folders, else its number with leading zeros."""
    if names and len(set(names)) == len(names) == num_classes and all(map(_can_be_folder, names)):
        return list(names)
    width = max(5, len(str(num_classes - 1)))
    return [f"{label:0{width}d}" for label in range(num_classes)]


def _can_be_folder(name: str) -> bool:
    is_visible = bool(name) and not name.startswith(HIDDEN_PREFIXES)
    return is_visible and not set(name) & {"/", "\0", "\n", "\r"} and len(os.fsencode(name)) <= 255


def name_photo(listing: Listing, number: int, encoded: bytes) -> str:
    """Return the path of a photo below its person's folder."""
    if listing.kind == "folder":
        return listing.describe(number).split("/", 1)[1]
    key = int(listing.keys[number]) if isinstance(listing, RecordListing) else number
    return f"{key:08d}{suffix_of(encoded)}"


def suffix_of(encoded: bytes) -> str:
    """Return the suffix for the contents of a picture's file."""
    return next((suffix for start, suffix in _SUFFIXES if encoded.startswith(start)), _OTHER_SUFFIX)


WRITERS: dict[str, Callable[[Path, NewSet], None]] = {
    "recordio": write_recordio,
    "ofrecord": write_ofrecord,
    "folder": write_folder,
}
"""The writer for each kind of training set."""
