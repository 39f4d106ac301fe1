"""The images of a protocol: all are looked at before the ranks start; then each rank keeps those that it embeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.errors import UserError, shorten
from common.wording import counted
from common.workers import available_cpus
from data.image_lists.images import ImageList
from data.photos.photo import Fault
from data.photos.prepare import PhotoRules
from data.photos.walk import printable
from data.rejected import WRONG_SIZE
from engine.embed_images import EmbeddingTask, load_faces
from engine.protocols.base import Faces
from settings.protocols import NamedProtocol

if TYPE_CHECKING:
    from engine.embedder import Embedder  # loads OneFlow
    from launch.world import World

_SHOWN = 10

FaultAt = tuple[int, str, str]
"""The place of an image that cannot be used, the reason, and details."""


def task_of(images: ImageList, size: int, workers: int) -> EmbeddingTask:
    """Return what the commands do with a list: no detector, no scaling, f(image) + f(mirrored image)."""
    return EmbeddingTask(images, PhotoRules(size, min_size=0), num_workers=workers, skip_bad=None)


def find_faults(task: EmbeddingTask) -> list[FaultAt]:
    """Decode every image of a list and return those that cannot be used."""
    with load_faces(task.images.places, task) as faces:
        return [(place, *face) for place, face in enumerate(faces) if isinstance(face, Fault)]


def usable_faces(named: NamedProtocol, task: EmbeddingTask, faults: Sequence[FaultAt]) -> tuple[Faces, np.ndarray]:
    """Return the images of a list that can be used, without embeddings, and the place of each, int64 [N].

    In a folder, files that hold no image are left out, as by ``tools/embed.py``.

    Raises:
        UserError: other images cannot be used, or none is left; the message names the first ones.
    """
    images = task.images
    refused = [fault for fault in faults if not task.tolerates(fault[1])]
    if refused:
        lines = [
            f"--val_protocols {named}: {printable(images.name(place))} of {printable(images.source)}: {reason}"
            f"{f' ({details})' if details else ''}"
            for place, reason, details in refused
        ]
        hints = ["mend or remove them"]
        if any(reason == WRONG_SIZE for _, reason, _ in refused):
            hints.append(f"images must be aligned and of {task.rules.size}x{task.rules.size} pixels")
        all_of_them = f"--val_protocols {named}: {counted(len(refused), 'image')} cannot be used; {'; '.join(hints)}"
        raise UserError(*shorten(lines, "images that cannot be used", _SHOWN), all_of_them)
    rows = np.arange(len(images)) if images.rows is None else images.rows
    kept = np.flatnonzero(~np.isin(rows, [place for place, *_ in faults]))
    if not len(kept):
        raise UserError(f"--val_protocols {named}: {images.source} holds no image that can be used")
    labels = images.labels[kept] if images.labels is not None else None
    return Faces([images.names[number] for number in kept.tolist()], labels, np.zeros((0, 0), np.float32)), rows[kept]


class SharedFaces:
    """The faces of a list in memory, each rank its part of each batch.

    Attributes:
        faces: the images that can be used, without embeddings.
    """

    def __init__(self, named: NamedProtocol, images: ImageList, embedder: Embedder, world: World) -> None:
        """Load this rank's faces. A collective call.

        Raises:
            UserError: images cannot be used; the same on all ranks.
        """
        self._named, self._embedder = named, embedder
        self._count, self._batch = len(images.places), embedder.batch_size
        self._per_rank = self._batch // world.size
        first = world.rank * self._per_rank
        starts = range(first, self._count, self._batch)
        mine = [place for start in starts for place in range(start, min(start + self._per_rank, self._count))]
        size = embedder.image_size
        task = task_of(images, size, max(1, available_cpus() // world.local_size))
        self._faces = np.zeros((len(mine), 3, size, size), np.uint8)
        faults: list[FaultAt] = []
        with load_faces((images.places[place] for place in mine), task) as faces:
            for number, face in enumerate(faces):
                if isinstance(face, Fault):
                    faults.append((mine[number], *face))
                else:
                    self._faces[number] = face.transpose(2, 0, 1)
        told = [fault for part in world.exchange(json.dumps(faults).encode()) for fault in json.loads(part)]
        self.faces, self._places = usable_faces(named, task, sorted(map(tuple, told)))

    def embed(self, on_batch: Callable[[], None]) -> Faces:
        """Return the images with their embeddings, the same on all ranks. A collective call.

        Args:
            on_batch: called after each batch.

        Raises:
            UserError: an embedding is not finite.
        """
        parts, done = [], 0
        for start in range(0, self._count, self._batch):
            part = np.zeros((self._per_rank, *self._faces.shape[1:]), np.uint8)
            own = self._faces[done : done + self._per_rank]
            part[: len(own)] = own
            done += len(own)
            rows = self._embedder.embed_parts(part)
            rows = rows + self._embedder.embed_parts(np.ascontiguousarray(part[..., ::-1]))
            parts.append(rows[: min(self._batch, self._count - start)])
            on_batch()
        rows = np.concatenate(parts)[self._places]
        broken = np.count_nonzero(~np.isfinite(rows).all(axis=1))
        if broken:
            raise UserError(
                f"--val_protocols {self._named}: {broken} of {len(rows)} embeddings hold NaN or Inf; the model has "
                "diverged"
            )
        return Faces(self.faces.names, self.faces.labels, rows)
