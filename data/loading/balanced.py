"""An order of the training images in which each class has a chosen share, however many images it has.

Class-balanced and square-root sampling as in Kang et al. (arXiv:1910.09217, section 4.1): a class of n images has a
share that goes with n^q, with q 0 and 1/2; q 1 is an order in which each image occurs once an epoch.
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from data.loading.sampler import SampleStream
from data.sources.base import ImageSource
from data.sources.class_sizes import number_blocks

# Powers of a class's size by the value of ``sampler``; each image once an epoch needs none of this.
POWERS = {"class": 0.0, "square_root": 0.5}


class BalancedStream(SampleStream):
    """Image numbers in training order; a function of (labels, power, seed) alone.

    An epoch has as many places as there are images. Each class gets its share of them, rounded down or up at random,
    and fills them with its images in an order drawn anew: none occurs a second time before all have occurred once.
    """

    def __init__(self, source: ImageSource, seed: int, power: float) -> None:
        """Give a class of ``source`` with n images a share that goes with n^``power``."""
        super().__init__(len(source), seed)
        self._labels = np.concatenate([source.labels(block) for block in number_blocks(source)])
        self._sizes = np.bincount(self._labels, minlength=source.num_classes)
        self._starts = np.cumsum(self._sizes) - self._sizes
        present = self._sizes > 0
        shares = np.where(present, np.maximum(self._sizes, 1).astype(np.float64) ** power, 0.0)
        self._places = np.cumsum(shares) / shares.sum() * len(source)
        self._places[np.flatnonzero(present)[-1] :] = len(source)

    @override
    def _draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.Generator(np.random.Philox(key=[self.seed % (1 << 64), epoch]))
        # One offset for all classes: the counts add up, and each is its share within 1.
        bounds = np.floor(self._places + generator.random()).astype(np.int64)
        bounds[self._places == self.num_images] = self.num_images
        counts = np.diff(bounds, prepend=0)
        grouped = np.lexsort((generator.random(self.num_images), self._labels))
        classes = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(self.num_images) - np.repeat(bounds - counts, counts)
        sizes = self._sizes[classes]
        images, repeats = grouped[self._starts[classes] + number % sizes], number // sizes
        mixed = generator.permutation(self.num_images)
        return images[mixed], repeats[mixed]
