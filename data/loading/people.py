"""Images person by person: the rounds of triplet bags, and batches of P people with K images each."""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from data.loading.sampler import SampleStream
from data.sources.base import ImageSource
from data.sources.class_sizes import number_blocks

PK = "pk"  # the value of ``sampler``


def draw_people(labels: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return all images by person, int64 [N], and the number of images of each of these people, int64 [P].

    People are in random order, and so are the images of a person. ``labels`` are the classes of all images, [N].
    """
    identity = generator.permutation(labels.max() + 1)[labels]
    order = np.lexsort((generator.random(len(labels)), identity))
    return order, np.diff(np.flatnonzero(np.diff(identity[order], prepend=-1, append=-1)))


class PeopleStream(SampleStream):
    """Image numbers in training order: K consecutive images of each person; a function of (labels, K, seed) alone.

    The batches of P x K of Hermans et al. (arXiv:1703.07737): a round has each person once, with K of the
    images chosen at random. A person with fewer shows each of them once before one occurs again, with another
    augmentation.

    Attributes:
        num_images: positions of a round: people times K.
    """

    def __init__(self, source: ImageSource, seed: int, count: int) -> None:
        """Take ``count`` images of each person of ``source``."""
        self._labels = np.concatenate([source.labels(block) for block in number_blocks(source)])
        self._count = count
        super().__init__(len(np.unique(self._labels)) * count, seed)

    @override
    def _draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.Generator(np.random.Philox(key=[self.seed % (1 << 64), epoch]))
        order, sizes = draw_people(self._labels, generator)
        repeats, place = np.divmod(np.arange(self._count), sizes[:, None])
        starts = np.cumsum(sizes) - sizes
        return order[starts[:, None] + place].reshape(-1), repeats.reshape(-1)
