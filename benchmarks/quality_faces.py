"""Draw the sets of bench_quality: plain, with wrong labels, and long-tailed; all are verified on the same others."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.files import atomic_directory
from data.drawn_faces import FaceOptions, write_pairs, write_pictures

SEED = 1
DRAWN, NOISY, TAIL = "drawn", "noisy", "tail"
KINDS = (DRAWN, NOISY, TAIL)
TEST = "test"  # the folder of the people that no network is trained on
SWAPPED, STRANGERS = 0.2, 0.1  # shares of the noisy set: labels of other people, pictures of people outside the set
LARGEST, SMALLEST = 100, 2  # images of a person in the long-tailed set
PROBE_VIEWS = 4  # images of each person for identification, of which one is the gallery's
_FIRST_PROBE = 10**6  # number of a view that no pair shows

Pictures = Iterator[tuple[int, int, int]]


def image_counts(kind: str, options: FaceOptions) -> np.ndarray:
    """Return the number of images of each person of a training set, int64 [people].

    In the long-tailed set person r, counted from 1, has 100 / sqrt(r) images, but at least 2.
    """
    if kind != TAIL:
        return np.full(options.people, options.images)
    ranks = np.arange(1, options.people + 1)
    return np.maximum(SMALLEST, np.round(LARGEST / np.sqrt(ranks))).astype(np.int64)


def pictures_of(kind: str, options: FaceOptions) -> Pictures:
    """Yield person, view and label of each picture of a training set.

    In the noisy set a fifth of the pictures has the label of another person of the set, and a tenth shows a person who
    is neither in the set nor in the verification.
    """
    rng = np.random.default_rng([SEED, options.people, options.images])
    outside = options.people + options.others
    for person, count in enumerate(image_counts(kind, options).tolist()):
        for view in range(count):
            if kind != NOISY:
                yield person, view, person
                continue
            kind_of_noise, shift = rng.random(), int(rng.integers(1, options.people))
            if kind_of_noise < SWAPPED:
                yield person, view, (person + shift) % options.people
            elif kind_of_noise < SWAPPED + STRANGERS:
                yield outside + shift, options.images * person + view, person
            else:
                yield person, view, person


def prepare_faces(folder: Path, kind: str, options: FaceOptions) -> Path:
    """Write a training set and the test people of all, unless they are there; return the training set's folder.

    Raises:
        UserError: ``folder`` holds faces that were drawn with other numbers, or cannot be written.
    """
    test = folder / TEST
    if not test.is_dir():
        with atomic_directory(test) as new:
            write_pairs(new / f"{DRAWN}.bin", SEED, options.people, options)
            first = options.people
            shown = itertools.product(range(first, first + options.others), range(PROBE_VIEWS))
            pictures = ((person, _FIRST_PROBE + view, person - first) for person, view in shown)
            write_pictures(new / "people", SEED, pictures, options.size)
            (new / "options.json").write_text(json.dumps(asdict(options)))
    if json.loads((test / "options.json").read_text()) != asdict(options):
        raise UserError(
            f"{folder} holds faces of other --people, --images, --others, --pairs or --size; use another --output"
        )
    train = folder / kind
    if not train.is_dir():
        with atomic_directory(train) as new:
            write_pictures(new / "train", SEED, pictures_of(kind, options), options.size)
    return train / "train"
