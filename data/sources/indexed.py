"""Read training images by an index of records; the formats differ in how the bytes of an image are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.image import DecodeError, ImageSizeError, decode_images
from data.rejected import NOT_DECODABLE, WRONG_SIZE
from data.sources.bad_images import BadImageError
from data.sources.part_reader import PartReader
from data.sources.record_index import RecordIndex


class IndexedSource:
    """An ``ImageSource``: the records of an index.

    Args:
        index: the records.
        num_classes: labels must be below this; 0 takes the number from the labels.
        image_size: required height and width of the images in pixels.

    Attributes:
        files: the files that hold the images.

    Raises:
        UserError: a label is not below ``num_classes``.
    """

    def __init__(self, index: RecordIndex, num_classes: int, image_size: int) -> None:
        index.check_labels(num_classes or index.num_classes)
        self.num_classes = num_classes or index.num_classes
        self.image_size = image_size
        self.files = index.files
        self._index: RecordIndex | None = index
        self._reader = PartReader(self.files)

    @property
    def index(self) -> RecordIndex:
        """The records.

        Raises:
            RuntimeError: this copy is a worker's, which has no index.
        """
        if self._index is None:
            raise RuntimeError("this copy of the source was sent to a worker and has no index")
        return self._index

    def __len__(self) -> int:
        return len(self.index)

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Return the classes of the images ``indices``, int32 [B]."""
        return self.index.labels(indices)

    def locate(self, indices: np.ndarray) -> np.ndarray:
        """Return int64 [B, 4]: file number, byte offsets of record and image, and the image's length in bytes."""
        return self.index.locate(indices)

    def fetch(self, locations: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return uint8 [size, size, 3] RGB for each row of ``locations``, in ``places`` or new memory.

        All images are read before the first is decoded: alternating between the two is slower.

        Raises:
            BadImageError: an image cannot be decoded, has another size or was cut; it names file and byte offset.
            UserError: a file cannot be read.
        """
        rows = locations.tolist()
        try:
            return decode_images(self.read_encoded(rows), self.image_size, places)
        except DecodeError as error:
            reason = WRONG_SIZE if isinstance(error, ImageSizeError) else NOT_DECODABLE
            raise self._error(rows[error.index], reason, str(error)) from error

    def read_encoded(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
        """Return the encoded images at the rows of ``locate``.

        Raises:
            BadImageError: an image was cut; it names file and byte offset.
            UserError: a file cannot be read.
        """
        encoded = self._reader.read([(file, begin, length) for file, _, begin, length in rows])
        for row, data in zip(rows, encoded, strict=True):
            if len(data) < row[3]:
                details = f"the file was cut since it was indexed: {len(data)} of {row[3]} bytes are left"
                raise self._error(row, "cut", details)
        return encoded

    def read(self, index: int) -> tuple[np.ndarray, int]:
        """Return (uint8 [size, size, 3] RGB, label) of image ``index``."""
        indices = np.array([index])
        place = np.empty((self.image_size, self.image_size, 3), np.uint8)
        return self.fetch(self.locate(indices), [place])[0], int(self.labels(indices)[0])

    def __getstate__(self) -> dict[str, Any]:
        """Omit the index, which may be large and which ``fetch`` does not need."""
        return {**self.__dict__, "_index": None}

    def _error(self, location: Sequence[int], reason: str, details: str) -> BadImageError:
        """Return an error that names the record."""
        return BadImageError(f"{self.files[location[0]]}: record at byte {location[1]}", reason, details)
