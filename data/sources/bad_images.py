"""Images that cannot be used: the error that names one, and the choice of another image in its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from common.errors import UserError
from data.random_numbers import Purpose, random_bits
from data.rejected import Rejection
from data.sources.base import ImageSource

STOP, SKIP = "stop", "skip"  # the values of --bad_images
_MOST_TRIED = 64  # images of the same person, and as many of those that follow
_BLOCK = 1 << 20  # labels read at once
_MOST_LINES = 20


class BadImageError(UserError):
    """An image of a source cannot be used, and the others may be good.

    Attributes:
        rejection: the image and what is wrong with it.
    """

    def __init__(self, file: str, reason: str, details: str) -> None:
        """Take the image (file and record), the kind of fault, such as "not decodable", and its details."""
        super().__init__(f"{file}: {details}")
        self.rejection = Rejection(file, reason, details)


class BadImage(NamedTuple):
    """A bad image of a batch: its place in the batch, and what is wrong with it."""

    place: int
    rejection: Rejection


def bad_images_error(rejections: Sequence[Rejection]) -> UserError:
    """Return one error with a line for each bad image."""
    lines = [
        f"{rejection.file}: {rejection.details}; --bad_images skip takes another image in its place"
        for rejection in rejections[:_MOST_LINES]
    ]
    more = len(rejections) - len(lines)
    return UserError(*lines, *([f"and {more} more bad images in the same step"] if more else []))


def replacement_candidates(source: ImageSource, seed: int, epoch: int, index: int) -> Iterator[int]:
    """Yield the images to try in the place of image ``index``, best first.

    These are the other images of the same person in an order drawn from (seed, epoch, index), then the images that
    follow in the source: a function of the data alone, so that every number of ranks and workers chooses the same.
    """
    indices = np.array([index])
    same = _images_of(source, int(source.labels(indices)[0]))
    same = same[same != index]
    keys = random_bits(seed, Purpose.REPLACEMENT, epoch, index * np.int64(len(source)) + same)
    yield from same[np.argsort(keys, kind="stable")][:_MOST_TRIED].tolist()
    for step in range(1, min(len(source), _MOST_TRIED + 1)):
        yield (index + step) % len(source)


def _images_of(source: ImageSource, label: int) -> np.ndarray:
    """Return the numbers of all images of a class, int64."""
    found = []
    for start in range(0, len(source), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(source)))
        found.append(block[source.labels(block) == label])
    return np.concatenate(found)
