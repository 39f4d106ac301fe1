"""List the images of a folder, a list, a dataset or a ``.bin``, to embed them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError, require
from common.text_files import read_lines
from data.image import DecodeError, image_shape
from data.image_lists.places import FilePlace, PartPlaces, Place, RecordPlaces
from data.ofrecord.records import list_parts
from data.photos.walk import walk_photos
from data.recordio.dataset import RECORDS_FILE, open_recordio
from data.recordio.options import DEFAULT_OPTIONS, RecordIOOptions
from data.rejected import Rejection
from data.sources.ofrecord import open_part_index
from data.verification.bin_file import read_bin

_POINTS = 10  # numbers: x and y of five landmarks


@dataclass(frozen=True)
class ImageList:
    """Images in the order of their source.

    Attributes:
        source: the path.
        names: a name for each: the path below the folder, the path in the list, the key, or the number in the .bin.
        places: where each is; equal images of a .bin are one place.
        rows: int64 [N], the place of each image, if there are fewer places than images; else None.
        size: bytes of the source; 0 for a folder.
        labels: the class of each image, or None.
        issame: of a .bin, whether images 2i and 2i + 1 show one person, or None.
        left_out: files of a folder with hidden names.
        is_folder: whether it is a folder, which may hold other files than photos.
        has_landmarks: whether it is a list that gives landmarks.
    """

    source: str
    names: Sequence[str]
    places: Sequence[Place]
    rows: np.ndarray | None = None
    size: int = 0
    labels: np.ndarray | None = None
    issame: Sequence[bool] | None = None
    left_out: Sequence[Rejection] = ()
    is_folder: bool = False
    has_landmarks: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def name(self, place: int) -> str:
        """Return the name of the first image at a place."""
        return self.names[place if self.rows is None else int(np.argmax(self.rows == place))]

    def describe(self) -> dict[str, Any]:
        """Return facts about the images; the checksum is that of the names and the size of the list, .rec or .bin."""
        digest = hashlib.sha256(str(self.size).encode())
        for name in self.names:
            digest.update(f"{name}\n".encode("utf-8", "surrogateescape"))
        return {
            "source": self.source,
            "source_sha256": digest.hexdigest(),
            "images": len(self),
            "landmarks": self.has_landmarks,
        }


def list_images(source: str | Path, root: str | Path = "", records: RecordIOOptions = DEFAULT_OPTIONS) -> ImageList:
    """List the images of ``source``.

    Args:
        source: a folder of photos, at any depth; a ``.rec``, or the folder of train.rec; a folder of OFRecord parts
            with a training set; a ``.bin``; or a text file with a path per line, which five landmarks (x and y of left
            eye, right eye, nose, left and right corner of the mouth) may follow, and a score.
        root: folder that the paths of a list are relative to; empty: the list's folder.
        records: how a ``.rec`` is read where it is not perfect.

    Raises:
        UserError: it does not exist or cannot be read, or contains no images.
    """
    source = Path(source)
    if source.is_dir():
        if (source / RECORDS_FILE).is_file():
            images = _list_records(source, records)
        else:
            images = _list_parts(source) if any(source.glob("part-*")) else _list_folder(source)
    elif source.suffix == ".rec":
        images = _list_records(source, records)
    elif source.suffix == ".bin":
        images = _list_bin(source)
    elif source.is_file():
        require(not _is_image(source), f"--input {source} is an image; give its folder, or a list of paths")
        images = _list_paths(source, Path(root) if root else source.parent)
    else:
        raise UserError(f"--input {source} does not exist; give a folder of photos, a list, a .rec or a .bin")
    if not len(images):
        raise UserError(f"--input {source} contains no images")
    return images


def _list_folder(folder: Path) -> ImageList:
    found = walk_photos(folder, "--input")
    names = [str(path.relative_to(folder)) for path in found.photos]
    places = [FilePlace(str(path)) for path in found.photos]
    return ImageList(str(folder), names, places, left_out=found.left_out, is_folder=True)


def _list_paths(path: Path, root: Path) -> ImageList:
    names, places = [], []
    for line in read_lines(path, "--input", keep_bytes=True):
        if line.strip():
            name, points = _split_line(line.strip())
            names.append(name)
            places.append(FilePlace(str(root / name), points))
    landmarks = any(place.points for place in places)
    return ImageList(str(path), names, places, None, path.stat().st_size, has_landmarks=landmarks)


def _is_image(path: Path) -> bool:
    try:
        return bool(image_shape(path.read_bytes()))
    except (OSError, DecodeError):
        return False


def _split_line(line: str) -> tuple[str, tuple[float, ...]]:
    """Return path and landmarks: the line's last ten words, or those before a score, if all are numbers."""
    words = line.split()
    for count in (_POINTS + 1, _POINTS):  # with a score, without
        if len(words) > count and all(map(_is_number, words[-count:])):
            name = line.rsplit(None, count)[0]
            return name, tuple(map(float, words[-count:][:_POINTS]))
    return line, ()


def _is_number(word: str) -> bool:
    try:
        return bool(np.isfinite(float(word)))
    except ValueError:
        return False


def _list_records(path: Path, options: RecordIOOptions) -> ImageList:
    images = open_recordio(path, options.ignore_idx, options.renumber_labels, options.skip_bad)
    names = [str(key) for key in images.keys.tolist()]
    return ImageList(str(path), names, RecordPlaces(images), None, images.path.stat().st_size, images.labels)


def _list_parts(folder: Path) -> ImageList:
    parts = list_parts(folder)
    index = open_part_index(parts)
    numbers = np.arange(len(index))
    located = index.locate(numbers)[:, :2].tolist()
    names = [f"{index.files[file].name}:{offset}" for file, offset in located]
    size = sum(part.stat().st_size for part in parts)
    return ImageList(str(folder), names, PartPlaces(index), None, size, index.labels(numbers))


def _list_bin(path: Path) -> ImageList:
    bins, issame = read_bin(path)
    places: dict[bytes, int] = {}
    rows = np.array([places.setdefault(encoded, len(places)) for encoded in bins], np.int64)
    names = [str(number) for number in range(len(bins))]
    return ImageList(str(path), names, list(places), rows, path.stat().st_size, issame=issame)
