"""Read training images from a folder of OFRecord parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.bad_images import BadImageError
from data.image import DecodeError, ImageSizeError, decode_images
from data.ofrecord import list_parts
from data.ofrecord_index import OFRecordIndex
from data.part_reader import PartReader


class OFRecordSource:
    """An ``ImageSource``: the records of a folder of parts.

    Args:
        directory: folder of the parts.
        num_classes: labels must be below this.
        image_size: required height and width of the images in pixels.
        part_num: required number of parts; 0 accepts any.

    Raises:
        UserError: the folder is missing, it does not hold ``part_num`` parts (or any), a part is damaged, or a label is
            not below ``num_classes``.
    """

    def __init__(self, directory: str | Path, num_classes: int, image_size: int = 112, part_num: int = 0) -> None:
        self.num_classes = num_classes
        self.image_size = image_size
        self._parts = list_parts(directory, part_num)
        self._index: OFRecordIndex | None = OFRecordIndex.open(self._parts)
        self._index.check_labels(num_classes)
        self._reader = PartReader(self._parts)

    def __len__(self) -> int:
        return len(self._located())

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Return the classes of the images ``indices``, int32 [B]."""
        return self._located().labels(indices)

    def locate(self, indices: np.ndarray) -> np.ndarray:
        """Return int64 [B, 4]: part number, byte offsets of record and image, and the image's length in bytes."""
        return self._located().locate(indices)

    def fetch(self, locations: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return uint8 [size, size, 3] RGB for each row of ``locations``, in ``places`` or new memory.

        All images are read before the first is decoded: alternating between the two is slower.

        Raises:
            BadImageError: an image cannot be decoded, has another size or was cut; it names part and byte offset.
            UserError: a part cannot be read.
        """
        rows = locations.tolist()
        encoded = self._reader.read([(part, begin, length) for part, _, begin, length in rows])
        for row, data in zip(rows, encoded, strict=True):
            if len(data) < row[3]:
                details = f"the part was cut since it was indexed: {len(data)} of {row[3]} bytes are left"
                raise self._error(row, "cut", details)
        try:
            return decode_images(encoded, self.image_size, places)
        except DecodeError as error:
            reason = "other size" if isinstance(error, ImageSizeError) else "not decodable"
            raise self._error(rows[error.index], reason, str(error)) from error

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
        return BadImageError(f"{self._parts[location[0]]}: record at byte {location[1]}", reason, details)

    def _located(self) -> OFRecordIndex:
        if self._index is None:
            raise RuntimeError("this copy of the source was sent to a worker and has no index")
        return self._index
