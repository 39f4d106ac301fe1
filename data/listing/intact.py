"""Open sets whose images are all to be used: what is damaged is an error here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.errors import UserError
from common.workers import map_in_processes
from data.listing.base import NO_LABEL, Listing, Request
from data.listing.open import open_listing

_CHUNK = 1024
_SHOWN = 10
HINT = "python tools/dataset_convert/check_dataset.py"


def open_intact(path: str | Path, num_workers: int = 1, any_size: bool = False) -> tuple[Listing, np.ndarray]:
    """Open a training set of any kind without damage.

    Args:
        path: the set.
        num_workers: processes that read labels.
        any_size: the images may differ in size.

    Returns:
        the set, and the class of each image, int32 [N].

    Raises:
        UserError: it is not a training set, parts of it are damaged, or images have no class.
    """
    listing = open_listing(path)
    if listing.issame is not None:
        raise UserError(f"{path} is a verification set; give a training set")
    of_sizes = listing.size_problems
    problems = [each for each in listing.problems if not (any_size and each in of_sizes)]
    problems += [f"{path}: {each.file}: {each.details}" for each in listing.damage]
    labels = listing.labels
    if labels is None and not problems:
        labels, found = _read_labels(listing, num_workers)
        problems += found
    elif labels is not None:
        without = np.flatnonzero(labels == NO_LABEL)
        problems += [f"{path}: {listing.describe(number)} has no class" for number in without[:_SHOWN].tolist()]
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        has_way = bool(listing.label_problems) or problems == of_sizes
        hint = [] if has_way else [f"{HINT} {path} --write_clean OUT writes the set without this"]
        raise UserError(*problems[:_SHOWN], *more, *hint)
    return listing, labels


def _read_labels(listing: Listing, num_workers: int) -> tuple[np.ndarray, list[str]]:
    """Return the class of each image, int32 [N], and what is wrong with records."""
    count = len(listing)
    requests = listing.requests(np.arange(count), _CHUNK)
    labels, problems, position = np.empty(count, np.int32), [], 0
    with map_in_processes(_labels_of, requests, num_workers) as results:
        for found, texts in results:
            labels[position : position + len(found)] = found
            problems += [f"{listing.path}: {listing.describe(position + row)}: {text}" for row, text in texts]
            position += len(found)
    return labels, problems


def _labels_of(request: Request) -> tuple[np.ndarray, list[tuple[int, str]]]:
    labels, problems = [], []
    for row, found in enumerate(request.read()):
        labels.append(found.label)
        if found.problem:
            problems.append((row, found.problem))
    return np.array(labels, np.int32), problems
