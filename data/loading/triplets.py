"""Triplets for training without class centres: draw bags of images, and select triplets from a bag.

Both follow triplet_image_iter.py of InsightFace's MXNet trainer. Here the random draws depend only on the seed and the
number of the bag, so that every rank can repeat them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.errors import UserError
from common.wording import counted
from data.loading.people import draw_people
from data.sources.base import ImageSource

# Second words of the generators' keys, where ``SampleStream`` has the epoch.
_ROUND, _CHOICE = 1 << 61, 1 << 62


class TripletBags:
    """An endless sequence of bags of images: bag b is a function of the labels, the sizes, the seed and b.

    A round contains every identity once, in random order, with up to ``images_per_identity`` of its images, randomly
    chosen and adjacent (all images of an identity that has fewer). A round is cut into full bags; the rest is omitted.

    Attributes:
        per_round: number of bags per round.
    """

    def __init__(self, labels: np.ndarray, images_per_identity: int, bag_size: int, seed: int) -> None:
        """Prepare the bags from the class of every image, int32 [N].

        Raises:
            UserError: there are fewer than two identities, none has two images, or a round does not fill a bag.
        """
        self._labels = labels
        self._images_per_identity = images_per_identity
        self._bag_size = bag_size
        self._seed = seed % (1 << 63)  # numpy would turn a list of larger numbers into floats
        self._round: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))
        counts = np.bincount(labels)
        counts = counts[counts > 0]
        images = int(np.minimum(counts, images_per_identity).sum())
        self.per_round = images // bag_size
        if counts.max() < 2 or len(counts) < 2:
            raise UserError(
                f"triplets need two people and two images of one of them; the {len(labels)} training images show "
                f"{counted(len(counts), 'person', 'people')}, none with more than {counts.max()}"
            )
        if not self.per_round:
            raise UserError(
                f"--triplet_bag_size {bag_size} is more than the {images} images that {len(counts)} people have with "
                f"up to --images_per_identity {images_per_identity} of each; use a smaller bag or more images of each"
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any], source: ImageSource) -> TripletBags:
        """Return the bags of ``source``.

        Raises:
            UserError: no bag can be filled.
        """
        labels = source.labels(np.arange(len(source)))
        return cls(labels, config["images_per_identity"], config["triplet_bag_size"], config["seed"])

    def images(self, bag: int) -> np.ndarray:
        """Return the image numbers of a bag, int64 [bag_size]; images of an identity are adjacent."""
        number, place = divmod(bag, self.per_round)
        if self._round[0] != number:
            self._round = number, self._draw_round(number)
        return self._round[1][place * self._bag_size : (place + 1) * self._bag_size]

    def _draw_round(self, number: int) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(key=[self._seed, _ROUND + number]))
        order, sizes = draw_people(self._labels, generator)
        place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return order[place < self._images_per_identity]

    def generator(self, bag: int) -> np.random.Generator:
        """Return the random generator of a bag for ``select_triplets``."""
        return np.random.Generator(np.random.Philox(key=[self._seed, _CHOICE + bag]))


def select_triplets(
    embeddings: np.ndarray, labels: np.ndarray, alpha: float, max_ap: float, generator: np.random.Generator
) -> np.ndarray:
    """Select triplets from a bag: (anchor, positive, negative), int64 [T, 3], row numbers in random order.

    For every pair of images of an identity, with the first as the anchor, one semi-hard negative (FaceNet) is drawn: it
    is farther from the anchor than the positive, but by less than ``alpha``. Pairs without such a negative are skipped.
    Distances are squared L2 distances of the normalised embeddings.

    Args:
        embeddings: float32 [N, E], not normalised.
        labels: [N]; images of an identity are adjacent.
        alpha: the margin.
        max_ap: largest distance of anchor and positive; 0 accepts any.
        generator: draws the negatives and the order.
    """
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
    triplets = []
    starts = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]])
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(labels)], strict=True):
        distances = 2 - 2 * unit[start:stop] @ unit.T
        for anchor in range(stop - start - 1):
            to_others = distances[anchor].copy()
            to_others[start:stop] = np.inf
            for positive in range(anchor + 1, stop - start):
                near = distances[anchor, start + positive]
                if 0 < max_ap < near:
                    continue
                negatives = np.flatnonzero((to_others > near) & (to_others - near < alpha))
                if len(negatives):
                    chosen = negatives[generator.integers(len(negatives))]
                    triplets.append((start + anchor, start + positive, chosen))
    return generator.permutation(np.array(triplets, np.int64).reshape(-1, 3))
