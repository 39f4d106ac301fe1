"""Triplets for training without class centres: bags of images, and which triplets of a bag to take.

Both follow triplet_image_iter.py of InsightFace's MXNet trainer. What it draws depends on the seed and on the number of
the bag alone here, so that any rank can repeat it.
"""

from __future__ import annotations

import numpy as np

from common.errors import UserError

# Second words of the generators' keys; the orders of ``SampleStream`` have the epoch there.
_ROUND, _CHOICE = 1 << 61, 1 << 62


class TripletBags:
    """The bags of a training set, endlessly: bag b is a function of the labels, the sizes, the seed and b.

    In a round every identity comes once, in a new order, with up to ``images_per_identity`` of its images one after the
    other, chosen anew. A round is cut into as many bags as are full; the rest of it is left out. Identities with fewer
    images come with all of theirs.

    Attributes:
        per_round: bags in a round.
    """

    def __init__(self, labels: np.ndarray, images_per_identity: int, bag_size: int, seed: int) -> None:
        """Take the class of every image, int32 [N].

        Raises:
            UserError: no bag can be filled, or nobody has two images.
        """
        self._labels = labels
        self._images_per_identity = images_per_identity
        self._bag_size = bag_size
        self._seed = seed % (1 << 63)  # a list of larger ones would become floats
        self._round: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))
        counts = np.bincount(labels)
        counts = counts[counts > 0]
        images = int(np.minimum(counts, images_per_identity).sum())
        self.per_round = images // bag_size
        if counts.max() < 2 or len(counts) < 2:
            raise UserError(
                f"triplets need two people and two images of one of them; the {len(labels)} training images show "
                f"{len(counts)} people, of whom none has more than {counts.max()}"
            )
        if not self.per_round:
            raise UserError(
                f"--triplet_bag_size {bag_size} is more than the {images} images that {len(counts)} people have with "
                f"up to --images_per_identity {images_per_identity} of each; make it smaller, or that larger"
            )

    def take(self, bag: int) -> np.ndarray:
        """Return the images of a bag, int64 [bag_size]; those of an identity are neighbours."""
        number, place = divmod(bag, self.per_round)
        if self._round[0] != number:
            self._round = number, self._draw_round(number)
        return self._round[1][place * self._bag_size : (place + 1) * self._bag_size]

    def _draw_round(self, number: int) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(key=[self._seed, _ROUND + number]))
        identity = generator.permutation(self._labels.max() + 1)[self._labels]
        order = np.lexsort((generator.random(len(self._labels)), identity))
        identity = identity[order]
        starts = np.flatnonzero(np.r_[True, identity[1:] != identity[:-1]])
        place = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
        return order[place < self._images_per_identity]

    def generator(self, bag: int) -> np.random.Generator:
        """Return what ``select_triplets`` is to draw from in a bag."""
        return np.random.Generator(np.random.Philox(key=[self._seed, _CHOICE + bag]))


def select_triplets(
    embeddings: np.ndarray, labels: np.ndarray, alpha: float, max_ap: float, generator: np.random.Generator
) -> np.ndarray:
    """Return (anchor, positive, negative), int64 [T, 3], rows of a bag, in random order.

    For every pair of images of an identity, the first one the anchor, one negative is drawn from those that are farther
    from the anchor than the positive but by less than ``alpha`` (FaceNet's semi-hard ones); a pair without any gives no
    triplet. Distances are squared, between embeddings of length 1.

    Args:
        embeddings: float32 [N, E], of any length.
        labels: [N]; images of an identity are neighbours.
        alpha: the margin.
        max_ap: leave out pairs whose distance is larger; 0 takes all.
        generator: decides.
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
