"""Embed the people of training sets, find those who are in two places, and draw what was found."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.wording import counted
from data.contact_sheet import Tile, write_sheet
from data.editing.merge import SourceSet
from data.editing.same_people import SamePerson
from data.image import decode_any_size
from engine.embed_listing import embed_listing
from engine.embedder import Embedder
from evaluation.embedding_store import read_store
from evaluation.person_centres import cosines_to_centres, mean_centres, near_pairs

_PAIRS_SHOWN = 64


@dataclass(frozen=True)
class People:
    """The people of a set.

    Attributes:
        source: the set.
        embeddings: float16 or float32 [N, E], mapped from a file.
        centres: float32 [C, E], a unit row per class; zeros for a class without images.
    """

    source: SourceSet
    embeddings: np.ndarray
    centres: np.ndarray

    def most_central(self, labels: Sequence[int]) -> list[int]:
        """Return for each class the number of the image that is nearest to its centre."""
        wanted = np.flatnonzero(np.isin(self.source.labels, labels))
        own = self.source.labels[wanted]
        cosines = cosines_to_centres(self.embeddings[wanted], own, self.centres)
        order = np.lexsort((-cosines, own))
        found, firsts = np.unique(own[order], return_index=True)
        nearest = dict(zip(found.tolist(), wanted[order[firsts]].tolist(), strict=True))
        return [nearest[label] for label in labels]

    def tiles(self, numbers: Sequence[int], captions: Sequence[str]) -> list[Tile]:
        """Return tiles of images with captions."""
        images = self.source.listing.read(np.array(numbers, np.int64))
        return [Tile(decode_any_size(found.encoded)[0], text) for found, text in zip(images, captions, strict=True)]


def embed_people(source: SourceSet, embedder: Embedder, num_workers: int) -> People:
    """Embed all images of a set, each without its mirror image, and return its people with mean centres.

    Raises:
        UserError: an image cannot be decoded, or has another size than the network takes.
    """
    embeddings = embed_listing(source.listing, embedder, num_workers)
    return People(source, embeddings, mean_centres(embeddings, source.labels, source.num_classes))


def read_people(source: SourceSet, path: str) -> People:
    """Return the people of a set whose embeddings are in a file of ``tools/embed.py``.

    Raises:
        UserError: the file cannot be read, or is of other images.
    """
    store, labels = read_store(path), source.labels
    if store.labels is None or len(store) != len(labels) or not np.array_equal(store.labels, labels):
        raise UserError(
            f"{path} holds {len(store)} embeddings of {store.about['source']}, which are not those of the "
            f"{len(labels)} images of {source.listing.path}; make it with tools/embed.py --input {source.listing.path}"
        )
    return People(source, store.embeddings, mean_centres(store.embeddings, labels, source.num_classes))


def find_between(people: Sequence[People], above: float) -> list[SamePerson]:
    """Return the pairs of people of different sets whose centres have a cosine above ``above``, the largest first."""
    found = []
    for (i, one), (j, other) in itertools.combinations(enumerate(people, start=1), 2):
        found += _describe(i, one, j, other, *near_pairs(one.centres, other.centres, above))
    return sorted(found, key=lambda pair: -pair.cosine)


def find_within(people: People, above: float) -> list[SamePerson]:
    """Return the pairs of people of one set whose centres have a cosine above ``above``, the largest first."""
    return _describe(1, people, 1, people, *near_pairs(people.centres, None, above))


def _describe(i: int, one: People, j: int, other: People, pairs: np.ndarray, cosines: np.ndarray) -> list[SamePerson]:
    names = one.source.listing.class_name, other.source.listing.class_name
    return [
        SamePerson(i, a, names[0](a), j, b, names[1](b), cosine)
        for (a, b), cosine in zip(pairs.tolist(), cosines.tolist(), strict=True)
    ]


def pair_section(people: Sequence[People], found: Sequence[SamePerson]) -> tuple[str, list[Tile]]:
    """Return a section of a contact sheet: the most central image of both people of each of the first pairs."""
    shown = found[:_PAIRS_SHOWN]
    sides = []
    for which, label, name in (("set_1", "class_1", "name_1"), ("set_2", "class_2", "name_2")):
        tiles: list[Tile] = [Tile(None)] * len(shown)
        for number, each in enumerate(people, start=1):
            rows = [row for row, pair in enumerate(shown) if getattr(pair, which) == number]
            images = each.most_central([getattr(shown[row], label) for row in rows]) if rows else []
            prefix = f"set {number}: " if len(people) > 1 else ""
            captions = [f"{prefix}{getattr(shown[row], name)}\n{shown[row].cosine:.3f}" for row in rows]
            for row, tile in zip(rows, each.tiles(images, captions), strict=True):
                tiles[row] = tile
        sides.append(tiles)
    title = f"{counted(len(found), 'pair')} of classes that look like one person" + (
        f" (the first {len(shown)})" if len(shown) < len(found) else ""
    )
    return title, list(itertools.chain.from_iterable(zip(*sides, strict=True)))


def write_pairs(path: Path, people: Sequence[People], found: Sequence[SamePerson]) -> None:
    """Write a contact sheet of the pairs.

    Raises:
        UserError: the file cannot be written.
    """
    write_sheet(path, [pair_section(people, found)])
