"""Training images from a folder of OFRecord parts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from data.image import DecodeError, decode_image
from data.ofrecord import RecordError, decode_train_record, find_parts, read_record
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
        UserError: no such folder, no parts, another number of parts, or a damaged part.
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
        self._handles: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._located())

    def locate(self, indices: np.ndarray) -> np.ndarray:
        """Return int64 [B, 2]: part number and byte offset of each image."""
        return self._located().locate(indices)

    def fetch(self, location: np.ndarray) -> tuple[np.ndarray, int]:
        """Return (uint8 [size, size, 3] RGB, label) of the record at (part number, byte offset).

        Raises:
            UserError: damaged record, undecodable image or a label out of range; names part and byte offset.
        """
        part, offset = (int(number) for number in location)
        path = self._parts[part]
        payload = read_record(path, self._handle(part), offset)
        try:
            encoded, label = decode_train_record(payload)
            image = decode_image(encoded, self.image_size)
        except (RecordError, DecodeError) as error:
            raise UserError(f"{path}: record at byte {offset}: {error}") from error
        if not 0 <= label < self.num_classes:
            raise UserError(
                f"{path}: record at byte {offset}: label {label}, but the config has num_classes {self.num_classes}; "
                "correct num_classes or the dataset"
            )
        return image, label

    def read(self, index: int) -> tuple[np.ndarray, int]:
        """Return (uint8 [size, size, 3] RGB, label) of image ``index``."""
        return self.fetch(self.locate(np.array([index]))[0])

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
