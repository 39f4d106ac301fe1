"""Make the images of pairs of photos, and write them as a verification set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from common.errors import UserError
from common.progress import progress
from common.workers import map_in_processes
from data.pairs.lists import Pair
from data.photos.build import examples
from data.photos.prepare import PhotoRules, prepare_photo
from data.rejected import WRONG_SIZE, Rejection
from data.verification.bin_file import write_bin


@dataclass
class PairPhotos:
    """The images of photos, each made once.

    Attributes:
        rules: how a photo becomes an image.
        num_workers: processes that make images.
        images: the bytes of the images.
        rejections: the photos that give no image.
    """

    rules: PhotoRules
    num_workers: int = 1
    images: dict[Path, bytes] = field(default_factory=dict)
    rejections: dict[Path, Rejection] = field(default_factory=dict)

    def make(self, paths: Iterable[Path]) -> None:
        """Make the images of photos that are not made yet.

        Raises:
            UserError: photos have another size, and ``rules`` neither align nor scale them.
        """
        todo = [path for path in dict.fromkeys(paths) if path not in self.images and path not in self.rejections]
        chunk = 2 if self.rules.detector is not None else 32
        with map_in_processes(partial(prepare_photo, rules=self.rules), todo, self.num_workers, chunk) as made:
            for path, photo in zip(todo, progress(made, len(todo), "photos", "photo"), strict=True):
                if photo.fault is None:
                    self.images[path] = photo.encoded
                else:
                    self.rejections[path] = Rejection(str(path), *photo.fault)
        wrong = [rejection for rejection in self.rejections.values() if rejection.reason == WRONG_SIZE]
        if wrong:
            size, total = self.rules.size, len(self.images) + len(self.rejections)
            raise UserError(
                f"{len(wrong)} of {total} photos are not {size}x{size} pixels; use --align 1 to detect and align the "
                f"faces, --resize 1 if they are aligned, or set --image_size: {examples(wrong)}"
            )

    def usable(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Make the images of ``pairs``, and return the pairs of which both exist."""
        self.make(path for pair in pairs for path in (pair.first, pair.second))
        return [pair for pair in pairs if pair.first in self.images and pair.second in self.images]


def draw_usable(
    people: Mapping[str, Sequence[Path]], draw: Callable[[Mapping[str, Sequence[Path]]], list[Pair]], photos: PairPhotos
) -> list[Pair]:
    """Return pairs of photos that give an image: draw again without those that turned out not to.

    Args:
        people: the photos of each person.
        draw: draws pairs of some people's photos.
        photos: makes the images.

    Raises:
        UserError: the photos that give an image are too few, or have another size.
    """
    while True:
        left = {name: [path for path in paths if path not in photos.rejections] for name, paths in people.items()}
        pairs = draw({name: paths for name, paths in left.items() if paths})
        if len(photos.usable(pairs)) == len(pairs):
            return pairs


def write_pairs(path: str | Path, pairs: Sequence[Pair], photos: PairPhotos) -> None:
    """Write a verification ``.bin``."""
    bins = [photos.images[side] for pair in pairs for side in (pair.first, pair.second)]
    write_bin(path, bins, [pair.same for pair in pairs])
