"""Where images are, in files, records or memory, and how they become faces of the network's size."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from typing_extensions import override

from data.image import DecodeError, ImageSizeError, decode_image, decode_photo
from data.photos.align import align_face
from data.photos.photo import NOT_READABLE, Fault
from data.photos.prepare import PhotoRules, make_image
from data.recordio.dataset import RecordIOImages
from data.recordio.records import unpack_span
from data.rejected import NOT_DECODABLE, WRONG_SIZE
from data.sources.record_index import RecordIndex


class FilePlace(NamedTuple):
    """A file, and the landmarks in it (ten numbers) if they are known."""

    path: str
    points: tuple[float, ...] = ()


class RecordPlace(NamedTuple):
    """An image in a ``.rec`` or an OFRecord part: first byte, number of bytes, and whether its record is in pieces."""

    path: str
    begin: int
    length: int
    in_pieces: bool


Place = FilePlace | RecordPlace | bytes  # bytes: the encoded image itself


class RecordPlaces(Sequence[RecordPlace]):
    """The places of millions of images, made one by one."""

    def __init__(self, images: RecordIOImages) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    @override
    def __getitem__(self, row: int) -> RecordPlace:
        images = self._images
        if not 0 <= row < len(images):
            raise IndexError(row)
        start = int(images.starts[row])
        return RecordPlace(str(images.path), int(images.offsets[row]) + start, int(images.lengths[row]), start == 0)


class PartPlaces(Sequence[RecordPlace]):
    """The same for OFRecord parts."""

    def __init__(self, index: RecordIndex) -> None:
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    @override
    def __getitem__(self, row: int) -> RecordPlace:
        if not 0 <= row < len(self):
            raise IndexError(row)
        file, _, begin, length = self._index.locate(np.array([row]))[0].tolist()
        return RecordPlace(str(self._index.files[file]), begin, length, False)


def load_face(place: Place, rules: PhotoRules) -> np.ndarray | Fault:
    """Return the face of an image, uint8 [size, size, 3] RGB, or why there is none.

    Images of a .bin are scaled as for verification, unless they are aligned.
    """
    try:
        encoded = _read(place)
    except OSError as error:
        return Fault(NOT_READABLE, error.strerror or "")
    except ValueError as error:
        return Fault(NOT_READABLE, str(error))
    try:
        if isinstance(place, FilePlace) and place.points:
            points = np.array(place.points, np.float32).reshape(-1, 2)
            return align_face(decode_photo(encoded), points, rules.size)
        if isinstance(place, bytes) and rules.detector is None:
            return decode_image(encoded, rules.size, resize=True)
    except ImageSizeError as error:
        return Fault(WRONG_SIZE, str(error))
    except DecodeError as error:
        return Fault(NOT_DECODABLE, str(error))
    made = make_image(encoded, rules)
    return made if isinstance(made, Fault) else made[0]


def _read(place: Place) -> bytes:
    """Return the encoded image.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a file; the record is damaged.
    """
    if isinstance(place, bytes):
        return place
    if isinstance(place, FilePlace):
        return _read_file(place.path)
    with open(place.path, "rb", buffering=0) as handle:
        span = os.pread(handle.fileno(), place.length, place.begin)
    return unpack_span(span)[1] if place.in_pieces else span


def _read_file(path: str) -> bytes:
    # Opening a pipe would wait for a writer, and a device may have no end.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as handle:
        if not stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
            raise ValueError("a pipe or a device, not a file")
        return handle.read()
