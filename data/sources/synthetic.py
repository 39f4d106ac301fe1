"""Random images for tests and speed measurements; needs no files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class SyntheticSource:
    """An ``ImageSource`` of noise: image i is a function of (seed, i) alone and has class i mod num_classes."""

    def __init__(self, num_images: int, num_classes: int, image_size: int = 112, seed: int = 0) -> None:
        self.num_images = num_images
        self.num_classes = num_classes
        self.image_size = image_size
        self.seed = seed

    def __len__(self) -> int:
        return self.num_images

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Return the classes of the images, int32 [B]."""
        return (np.asarray(indices) % self.num_classes).astype(np.int32)

    def locate(self, indices: np.ndarray) -> np.ndarray:
        """Return the image numbers as int64 [B, 1]."""
        return np.asarray(indices, np.int64)[:, None]

    def fetch(self, locations: np.ndarray, places: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return uint8 [size, size, 3] for the image numbers ``locations``, int64 [B, 1], all in new memory."""
        return [self._draw(index) for index in locations[:, 0].tolist()]

    def read(self, index: int) -> tuple[np.ndarray, int]:
        """Return (uint8 [size, size, 3], label) of image ``index``."""
        return self._draw(index), index % self.num_classes

    def _draw(self, index: int) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(key=[self.seed % (1 << 64), index]))
        return generator.integers(0, 256, (self.image_size, self.image_size, 3), np.uint8)
