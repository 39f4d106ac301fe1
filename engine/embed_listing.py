"""Embed the images of a dataset into a temporary file, so that millions of embeddings need no memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial

import numpy as np

from common.errors import UserError
from common.progress import progress
from common.wording import counted
from common.workers import map_in_processes
from data.image import DecodeError, decode_image
from data.listing import Listing, Request
from data.listing.intact import HINT
from engine.embed_images import embed_images
from engine.embedder import Embedder

_CHUNK = 64
_SHOWN = 10


def embed_listing(listing: Listing, embedder: Embedder, num_workers: int) -> np.ndarray:
    """Return f(image) of every image, without its mirror image, float16 [N, E].

    The array is mapped from a file in the folder for temporary files, which vanishes with it.

    Args:
        listing: the images.
        embedder: the network.
        num_workers: processes that decode.

    Raises:
        UserError: an image cannot be decoded or has another size; the message names the first ones.
    """
    count = len(listing)
    requests = listing.requests(np.arange(count), _CHUNK)
    decode = partial(_decode, size=embedder.image_size)
    rows, done = None, 0
    with (
        tempfile.TemporaryFile() as file,
        progress(total=count, desc=f"embedding {listing.path.name}", unit="img") as bar,
        map_in_processes(decode, requests, num_workers) as decoded,
    ):
        for batch in embed_images(embedder, _good_images(listing, decoded), False, embedder.batch_size):
            if rows is None:
                rows = np.memmap(file, np.float16, "w+", shape=(count, batch.shape[1]))
            if not np.isfinite(batch).all():
                raise UserError(f"{listing.path}: an embedding is not finite; use another model")
            rows[done : done + len(batch)] = batch / np.linalg.norm(batch, axis=1, keepdims=True).clip(1e-12)
            done += len(batch)
            bar.update(len(batch))
    return rows


def _good_images(listing: Listing, decoded: Iterator[tuple[np.ndarray, list[tuple[int, str]]]]) -> Iterator[np.ndarray]:
    """Yield the images.

    Raises:
        UserError: some could not be decoded.
    """
    problems, number = [], 0
    for images, found in decoded:
        problems += [f"{listing.path}: {listing.describe(number + row)}: {text}" for row, text in found]
        number += len(images) + len(found)
        if not problems:
            yield from images
    if problems:
        hint = f"{HINT} {listing.path} --write_clean OUT drops them"
        raise UserError(
            *problems[:_SHOWN], f"{listing.path}: {counted(len(problems), 'image')} cannot be embedded; {hint}"
        )


def _decode(request: Request, size: int) -> tuple[list[np.ndarray], list[tuple[int, str]]]:
    images, problems = [], []
    for row, found in enumerate(request.read()):
        try:
            if found.problem:
                raise DecodeError(found.problem)
            images.append(decode_image(found.encoded, size))
        except DecodeError as error:
            problems.append((row, str(error)))
    return images, problems
