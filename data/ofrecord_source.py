"""Training images from a folder of OFRecord parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from data.image import DecodeError, decode_image
from data.ofrecord import find_parts
from data.ofrecord_index import OFRecordIndex

_MAX_OPEN_PARTS = 256


class OFRecordSource:
    """The records of a folder of parts; an ``ImageSource``.

    Args:
        directory: folder of the parts.
        num_classes: labels must be below this.
        image_size: height and width the images must have, in pixels.
        part_num: how many parts there must be; 0 for any number.

    Raises:
        UserError: no such folder, no parts, another number of parts, a damaged part or a label out of range.
    """

    def __init__(
        self,
        directory: str | Path,
        num_classes: int,
        image_size: int = 112,
        part_num: int = 0,
    ) -> None:
        self.num_classes = num_classes
        self.image_size = image_size
        self._parts = find_parts(directory, part_num)
        self._index: OFRecordIndex | None = OFRecordIndex.open(self._parts)
        self._index.check_labels(num_classes)
        self._handles: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._located())

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Return the classes of the images ``indices``, int32 [B]."""
        return self._located().labels(indices)

    def locate(self, indices: np.ndarray) -> np.ndarray:
        """Return int64 [B, 4]: part number, byte offsets of record and image, and the image's length in bytes."""
        return self._located().locate(indices)

    def fetch(self, locations: np.ndarray) -> Iterator[np.ndarray]:
        """Yield uint8 [size, size, 3] RGB for each row of what ``locate`` returned.

        All are read before the first is decoded: the disk gets the requests at once, and the processor does one thing
        at a time, which is faster.

        Raises:
            UserError: unreadable or undecodable image, or one of another size; names part and byte offset.
        """
        rows = locations.tolist()
        for part, _, begin, length in rows:
            os.posix_fadvise(self._handle(part), begin, length, os.POSIX_FADV_WILLNEED)
        images = [os.pread(self._handle(part), length, begin) for part, _, begin, length in rows]
        for row, encoded in zip(rows, images, strict=True):
            try:
                if len(encoded) < row[3]:
                    raise DecodeError(f"the part ends after {len(encoded)} of {row[3]} bytes, which were there before")
                image = decode_image(encoded, self.image_size)
            except DecodeError as error:
                raise UserError(f"{self._parts[row[0]]}: record at byte {row[1]}: {error}") from error
            yield image

    def read(self, index: int) -> tuple[np.ndarray, int]:
        """Return (uint8 [size, size, 3] RGB, label) of image ``index``."""
        indices = np.array([index])
        return next(self.fetch(self.locate(indices))), int(self.labels(indices)[0])

    def close(self) -> None:
        """Close the part files; the next read opens them again."""
        while self._handles:
            os.close(self._handles.popitem()[1])

    def __del__(self) -> None:
        if hasattr(self, "_handles"):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the index, which may be large and which ``fetch`` does not need."""
        return {**self.__dict__, "_index": None, "_handles": {}}

    def _located(self) -> OFRecordIndex:
        if self._index is None:
            raise RuntimeError("this copy of the source was sent to a worker and has no index")
        return self._index

    def _handle(self, part: int) -> int:
        if part not in self._handles:
            if len(self._handles) >= _MAX_OPEN_PARTS:
                os.close(self._handles.pop(next(iter(self._handles))))
            self._handles[part] = os.open(self._parts[part], os.O_RDONLY)
        return self._handles[part]
