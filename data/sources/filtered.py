"""Omit the identities with few images, as ``images_filter`` of InsightFace's image_iter.py does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.errors import UserError
from data.sources.base import ImageSource
from data.sources.class_sizes import count_images, number_blocks


class FilteredSource:
    """An ``ImageSource``: the images of ``source`` whose class has at least ``minimum`` images, in the same order.

    Classes keep their numbers, and omitted classes keep their rows in the head, as in InsightFace.

    Attributes:
        num_identities: number of kept classes (with at least one image).
        num_left_out: number of omitted classes (with at least one image).

    Raises:
        UserError: no class has ``minimum`` images.
    """

    def __init__(self, source: ImageSource, minimum: int) -> None:
        self.image_size = source.image_size
        self.num_classes = source.num_classes
        self._source = source
        counts = count_images(source)
        enough = counts >= minimum
        self.num_identities = int(np.count_nonzero(enough & (counts > 0)))
        self.num_left_out = int(np.count_nonzero(~enough & (counts > 0)))
        if self.num_identities == 0:
            raise UserError(
                f"--data_images_filter {minimum} leaves no image: the largest class has {counts.max()} images"
            )
        dtype = np.int32 if len(source) < 1 << 31 else np.int64
        kept = [block[enough[source.labels(block)]].astype(dtype) for block in number_blocks(source)]
        self._kept: np.ndarray | None = np.concatenate(kept)

    def __len__(self) -> int:
        return len(self._indices())

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Return the classes of the images ``indices``, int32 [B]."""
        return self._source.labels(self._indices()[indices].astype(np.int64))

    def locate(self, indices: np.ndarray) -> np.ndarray:
        """Return the locations of the images ``indices`` for ``fetch``, int64 [B, K]."""
        return self._source.locate(self._indices()[indices].astype(np.int64))

    def fetch(self, locations: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return uint8 [size, size, 3] RGB for each row of ``locations``, in ``places`` or new memory."""
        return self._source.fetch(locations, places)

    def __getstate__(self) -> dict[str, Any]:
        """Omit the list of images, which may be large and which ``fetch`` does not need."""
        return {**self.__dict__, "_kept": None}

    def _indices(self) -> np.ndarray:
        if self._kept is None:
            raise RuntimeError("this copy of the source was sent to a worker and does not know which images are kept")
        return self._kept
