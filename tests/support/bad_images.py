"""Training images of which some are bad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.image import encode_jpeg
from data.sources.bad_images import BadImageError
from data.sources.synthetic import SyntheticSource
from tests.support.tiny import IMAGE_SIZE


class BadSource(SyntheticSource):
    """A ``SyntheticSource`` whose images ``bad`` cannot be decoded."""

    def __init__(self, bad: Sequence[int], num_images: int = 23, num_classes: int = 5, seed: int = 1) -> None:
        super().__init__(num_images, num_classes, IMAGE_SIZE, seed)
        self.bad = frozenset(bad)

    def fetch(self, locations: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        for index in locations[:, 0].tolist():
            if index in self.bad:
                raise BadImageError(f"image {index}", "not decodable", "it is bad")
        return super().fetch(locations, places)


def make_faces(bad: dict[int, bytes], num_images: int, num_classes: int = 30) -> list[tuple[bytes, int]]:
    """Return small JPEGs, image i of class i modulo ``num_classes``, with other bytes for those of ``bad``."""
    source = SyntheticSource(num_images, num_classes, IMAGE_SIZE)
    faces = (source.read(index) for index in range(num_images))
    return [(bad.get(index, encode_jpeg(image)), label) for index, (image, label) in enumerate(faces)]
