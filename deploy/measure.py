"""Run a model in a runtime on faces: embeddings, their agreement with the reference, verification, speed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from deploy.faces import FOLDS, Faces
from deploy.registry import Runtime
from deploy.worker_client import RuntimeFault, Worker
from evaluation.similarity import cosine_similarity
from evaluation.verification import VerificationResult, verify_embeddings

BATCH = 8
SECONDS = 0.4  # of each round of a timing
ROUNDS = 5


@dataclass(frozen=True)
class Candidate:
    """A file in a runtime.

    Attributes:
        file: the file, or a snapshot's folder.
        runtime: what runs it.
        options: of the runtime, such as the precision.
        label: how it is called in tables.
    """

    file: str
    runtime: Runtime
    label: str
    options: dict[str, Any] = field(default_factory=dict)

    def start(self, cores: int = 0) -> Worker:
        """Return a worker for the runtime, which has not loaded the file."""
        return Worker(self.runtime.module, self.runtime.package, self.runtime.environment, cores)


@dataclass(frozen=True, eq=False)
class Result:
    """What a model gave.

    Attributes:
        embeddings: of the images and then of their mirrored images, float32 [2M, E].
        alone_cosine: least cosine between the embedding of an image in a batch of eight and alone.
        verification: None if the faces are not pairs.
        version: of the runtime.
    """

    embeddings: np.ndarray
    alone_cosine: float
    verification: VerificationResult | None
    version: str = ""

    def cosines(self, reference: Result) -> np.ndarray:
        """Return the cosine of each embedding to that of the reference; -1 for all if shapes or values do not fit."""
        rows = self.embeddings
        if rows.shape != reference.embeddings.shape or not np.isfinite(rows).all():
            return np.full(len(reference.embeddings), -1.0)
        return cosine_similarity(rows.astype(np.float64), reference.embeddings.astype(np.float64))


def embed_faces(candidate: Candidate, faces: Faces, size: int) -> Result:
    """Embed faces and their mirrored images in batches of eight.

    Raises:
        MissingPackage: the runtime is not installed.
        RuntimeFault: it cannot read or run the file.
    """
    count = len(faces.images)
    with tempfile.TemporaryDirectory() as folder, candidate.start() as worker:
        version = worker.load(candidate.file, size, candidate.options)
        names = {name: str(Path(folder) / f"{name}.npy") for name in ("images", "output", "alone")}
        np.save(names["images"], np.concatenate([faces.images, faces.images[..., ::-1]]))
        worker.ask("embed", batch=BATCH, **names)
        rows, alone = np.load(names["output"]), np.load(names["alone"])
    if len(rows) != 2 * count:
        raise RuntimeFault(f"{candidate.runtime.package}: {len(rows)} embeddings for {2 * count} images")
    rows = rows.reshape(len(rows), -1)
    cosine = cosine_similarity(alone.reshape(len(alone), -1).astype(np.float64), rows[: len(alone)].astype(np.float64))
    verification = None
    if faces.index is not None and np.isfinite(rows).all():
        plain, mirrored = rows[:count][faces.index], rows[count:][faces.index]
        verification = verify_embeddings(Path(faces.source).stem, plain, mirrored, faces.issame, FOLDS)
    return Result(rows, float(cosine.min()), verification, version)


def measure_speeds(candidates: Sequence[Candidate], faces: Faces, size: int, cores: int) -> list[float]:
    """Return images per second of each candidate, embedding one image at a time; NaN if it does not run.

    The candidates take turns of 0.4 s in five rounds, so that a change of the machine's speed meets them all, and are
    paused between their turns; the median of the rounds counts.

    Args:
        candidates: what to measure; all are in memory at once.
        faces: images to embed.
        size: height and width of the images.
        cores: 1 binds each to one core and one thread, and counts processor time, which other programs on the machine
            disturb less; 0 leaves them all, and counts the time that passes.
    """
    rates: list[list[float]] = [[] for _ in candidates]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        images = str(Path(folder) / "images.npy")
        np.save(images, faces.images[:4])
        workers: dict[int, Worker] = {}
        for turn in range(-1, ROUNDS):  # the first loads and warms up
            for number, candidate in enumerate(candidates):
                if turn < 0:
                    workers[number] = stack.enter_context(candidate.start(cores))
                elif number not in workers:
                    continue
                try:
                    rate = _take_turn(workers[number], candidate, images, size, cores, turn < 0)
                except RuntimeFault:
                    rates[number] = []
                    del workers[number]
                    continue
                if turn >= 0:
                    rates[number].append(rate)
    return [median(found) if found else float("nan") for found in rates]


def _take_turn(worker: Worker, candidate: Candidate, images: str, size: int, cores: int, is_first: bool) -> float:
    """Return images per second of one turn; the first one, which loads the file, is shorter."""
    if is_first:
        worker.load(candidate.file, size, candidate.options)
    else:
        worker.resume()
    answer = worker.ask("time", images=images, seconds=SECONDS / 4 if is_first else SECONDS)
    worker.pause()
    return answer["images"] / answer["processor_seconds" if cores else "seconds"]
