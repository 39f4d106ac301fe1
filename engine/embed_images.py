"""Embed images of any number: rows for a caller, or a file of embeddings that takes up its work after a kill."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError, shorten
from common.progress import progress
from common.wording import counted
from common.workers import map_in_processes, map_in_threads
from data.image_lists.images import ImageList
from data.image_lists.places import Place, load_face
from data.photos.photo import Fault
from data.photos.prepare import PhotoRules
from data.photos.walk import printable
from data.rejected import WRONG_SIZE, Rejection, summarize
from evaluation.embedding_store import describe, write_store
from evaluation.partial_embeddings import PartialEmbeddings, Piece
from interchange.open_model import TrainedModel
from snapshots.layout import describe_network

PIECE = 512  # images; what a kill can lose
_CHUNK = 2  # photos that a process takes at a time

Embed = Callable[[np.ndarray], np.ndarray]


def embed_faces(embed: Embed, faces: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return float32 rows [N, E] of faces, uint8 [N, 3, S, S]: f(face), ``mirrored`` plus f(mirrored face)."""
    rows = embed(faces)
    return rows + embed(np.ascontiguousarray(faces[..., ::-1])) if mirrored else rows


def embed_images(
    embed: Embed, images: Iterable[np.ndarray], mirrored: bool, batch_size: int = 64
) -> Iterator[np.ndarray]:
    """Yield float32 rows [n, E], n <= ``batch_size``, of faces in their order.

    Args:
        embed: embeds uint8 [N, 3, S, S], such as an ``Embedder``.
        images: RGB faces, uint8 [S, S, 3], taken as they are needed.
        mirrored: a row is f(image) + f(mirrored image), otherwise f(image).
        batch_size: images per call of ``embed``.
    """
    images = iter(images)
    while batch := list(itertools.islice(images, batch_size)):
        yield embed_faces(embed, np.ascontiguousarray(np.stack(batch).transpose(0, 3, 1, 2)), mirrored)


@dataclass(frozen=True)
class EmbeddingTask:
    """What a file of embeddings is made of, and how.

    Attributes:
        images: the images.
        rules: how an image becomes a face of the network's size.
        mirrored: whether a row is f(image) + f(mirrored image).
        dtype: of the rows, float32 or float16.
        batch_size: images per call of the network.
        num_workers: threads that decode, or processes that align.
        skip_bad: leave out images that cannot be used. In a folder, files that hold no face are always left out. None
            where the command needs every image and has no such flag.
    """

    images: ImageList
    rules: PhotoRules
    mirrored: bool = True
    dtype: str = "float32"
    batch_size: int = 64
    num_workers: int = 1
    skip_bad: bool | None = False

    def tolerates(self, reason: str) -> bool:
        """Tell whether images that cannot be used for this reason are left out."""
        return bool(self.skip_bad) or (self.images.is_folder and reason != WRONG_SIZE)

    def describe(self, model: TrainedModel) -> dict[str, Any]:
        """Return the description for the file."""
        facts = {"model": model.path, "model_sha256": model.about["checksum"]}
        facts |= {key: model.about[key] for key in ("network", "loss", "dataset", "step")}
        facts |= describe_network(model.network)
        if "color_order" in model.about:
            facts["color_order"] = model.about["color_order"]
        detector = self.rules.detector and Path(getattr(self.rules.detector, "path", "mtcnn")).name
        photos = {"detector": detector, "resized": self.rules.resize}
        return describe(facts, self.images.describe(), photos, self.mirrored, self.dtype)


def write_embeddings(target: Path, model: TrainedModel, embed: Embed, task: EmbeddingTask) -> list[Rejection]:
    """Embed images and write ``target``; a command that was killed is taken up where it was.

    Args:
        target: the ``.npz``.
        model: the model.
        embed: embeds uint8 [N, 3, S, S] with this model.
        task: images and settings.

    Returns:
        The images that were left out.

    Raises:
        UserError: images cannot be used and ``skip_bad`` is off, none is left, or rows are not finite; what was
            computed is kept for the next call.
    """
    images, about = task.images, task.describe(model)
    partial = PartialEmbeddings(target, about)
    if not task.skip_bad:
        partial.drop_rejected()
    ranges = list(partial.missing(len(images.places), PIECE))
    places = (images.places[row] for start, stop in ranges for row in range(start, stop))
    left = sum(stop - start for start, stop in ranges)
    with progress(total=len(images.places), desc="embedding", unit="img") as bar, load_faces(places, task) as faces:
        bar.update(len(images.places) - left)
        for start, stop in ranges:
            partial.add(_embed_piece(embed, task, start, list(itertools.islice(faces, stop - start))))
            bar.update(stop - start)
    rejected = [Rejection(images.name(place), *why) for piece in partial.read() for place, *why in piece.rejected]
    _require_tolerated(task, rejected)
    _write(target, about, task, partial)
    partial.remove()
    return rejected


def load_faces(
    places: Iterable[Place], task: EmbeddingTask
) -> contextlib.AbstractContextManager[Iterator[np.ndarray | Fault]]:
    """Give a block the faces in order: decoded in threads, which start at once, and detected in processes."""
    load = functools.partial(load_face, rules=task.rules)
    if task.rules.detector is None:
        return map_in_threads(load, places, task.num_workers)
    return map_in_processes(load, places, task.num_workers, _CHUNK)


def _require_tolerated(task: EmbeddingTask, rejected: Sequence[Rejection]) -> None:
    """Check that images that cannot be used may be left out.

    Raises:
        UserError: some may not; the message lists them.
    """
    refused = [one for one in rejected if not task.tolerates(one.reason)]
    if not refused:
        return
    lines = [f"{printable(one.file)}: {one.reason}{f' ({one.details})' if one.details else ''}" for one in refused]
    hint = "mend them, or leave them out with --skip_bad 1, which takes up the work"
    if any(one.reason == WRONG_SIZE for one in refused):
        hint = "use --align 1 to detect and align the faces, --resize 1 if they are aligned, or --skip_bad 1"
    if task.skip_bad is None:
        hint = "mend them; every image is needed, and the work is taken up where it ended"
    raise UserError(
        *shorten(lines, "images that cannot be used"), f"--input {task.images.source}: {summarize(refused)}; {hint}"
    )


def _embed_piece(embed: Embed, task: EmbeddingTask, start: int, loaded: Sequence[np.ndarray | Fault]) -> Piece:
    """Return the piece of the images from position ``start`` on.

    Raises:
        UserError: images have another size, or an embedding is not finite or does not fit into float16.
    """
    kept = [number for number, one in enumerate(loaded) if isinstance(one, np.ndarray)]
    rejected = [(start + number, *one) for number, one in enumerate(loaded) if isinstance(one, Fault)]
    # All images may have another size: said before the work, not after it.
    wrong = [Rejection(task.images.name(place), *why) for place, *why in rejected if why[0] == WRONG_SIZE]
    _require_tolerated(task, wrong)
    faces = (loaded[number] for number in kept)
    parts = list(embed_images(embed, faces, task.mirrored, task.batch_size))
    exact = np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
    with np.errstate(over="ignore"):
        rows = exact.astype(task.dtype)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        name = task.images.name(start + kept[broken[0]])
        why = "are too large for float16; use --dtype float32" if np.isfinite(exact).all() else "hold NaN or Inf"
        raise UserError(f"{name}: its embedding and {len(broken) - 1} others {why}")
    return Piece(
        start=start,
        stop=start + len(loaded),
        positions=start + np.array(kept, np.int64),
        rows=rows,
        norms=np.linalg.norm(exact, axis=1),
        rejected=rejected,
    )


def _write(target: Path, about: Mapping[str, Any], task: EmbeddingTask, partial: PartialEmbeddings) -> None:
    """Put the pieces together."""
    images = task.images
    places, norms = [], []
    for piece in partial.read():
        places.append(piece.positions)
        norms.append(piece.norms)
    done, norms = np.concatenate(places), np.concatenate(norms)
    if not len(done):
        raise UserError(f"--input {images.source}: none of its {counted(len(images), 'image')} can be used")
    pieces = (piece.rows for piece in partial.read() if len(piece.positions))
    kept = done  # the images whose rows are written, in the order of ``pieces``
    if images.rows is not None:
        row_of_place = np.full(len(images.places), -1)
        row_of_place[done] = np.arange(len(done))
        kept = np.flatnonzero(row_of_place[images.rows] >= 0)
        order = row_of_place[images.rows[kept]]
        pieces, norms = [np.concatenate(list(pieces))[order]], norms[order]
    # A pair of which one image was left out is not a pair.
    has_pairs = images.issame is not None and len(kept) == len(images)
    write_store(
        target,
        pieces,
        norms,
        [images.names[number] for number in kept.tolist()],
        about,
        images.labels[kept] if images.labels is not None else None,
        np.array(images.issame, bool) if has_pairs else None,
    )
