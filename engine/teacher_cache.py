"""A file of a teacher's embeddings of all training images, by image number.

It is a list of records of one size: the row, then a checksum of teacher, images, number and row. So a file that is
unfinished, damaged or of another teacher is known by its first record that does not fit, and continued from there. The
images are those of the set without augmentation; a teacher that sees each only once costs one pass over the set.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from backbones.graph.network_graph import NetworkGraph
from common.errors import UserError
from common.files import make_directory
from data.loading.augment import Augmentation, unchanged
from data.loading.batch_reader import BatchReader
from data.loading.worker import fill_batch
from data.sources.base import ImageSource
from data.sources.class_sizes import number_blocks
from engine.log import RunLog
from interchange.open_model import TrainedModel
from launch.rank import RankReporter
from launch.world import World

_LOOKED_AT = 64  # images whose pixels tell sets apart
_BLOCK = 1 << 12  # records checked at a time
_LINES = 10

EmbedParts = Callable[[np.ndarray], np.ndarray]


def fingerprint(model: TrainedModel, source: ImageSource, how: str) -> bytes:
    """Return what tells teachers, training sets and number formats (``how``) apart, 32 bytes.

    Of a set it is the place, length and class of every record and the pixels of 64 images.
    """
    digest = hashlib.sha256(how.encode())
    digest.update(_describe(model.network))
    for name, array in sorted(model.arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    digest.update(f"{len(source)} {source.image_size}".encode())
    for numbers in number_blocks(source):
        digest.update(np.ascontiguousarray(source.locate(numbers)))
        digest.update(np.ascontiguousarray(source.labels(numbers)))
    numbers = np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).astype(np.int64))
    pixels = np.zeros((len(numbers), source.image_size, source.image_size, 3), np.uint8)
    fill_batch(source, source.locate(numbers), unchanged(len(numbers)), Augmentation().make_change(), list(pixels))
    digest.update(pixels)
    return digest.digest()


def _describe(network: NetworkGraph) -> bytes:
    return "\n".join(f"{n.op} {n.name} {n.inputs} {sorted(n.attrs.items())} {n.arrays}" for n in network.nodes).encode()


class TeacherCache:
    """The rows of all images, each written once by the first rank and read by all.

    Attributes:
        path: the file.
    """

    def __init__(self, folder: Path, mark: bytes, source: ImageSource, length: int, world: World) -> None:
        """Keep rows of ``length`` numbers of the images of ``source`` in ``folder``; ``mark`` is their fingerprint."""
        self.path = folder / f"{mark.hex()[:16]}.rows"
        self._mark, self._source, self._world = mark, source, world
        self._type = np.dtype([("row", "<f4", (length,)), ("check", "<u4")])
        self._records: np.ndarray | None = None

    def fill(self, embed: EmbedParts, own: int, workers: int, log: RunLog, reporter: RankReporter) -> bool:
        """Compute what the file lacks. A collective call.

        Args:
            embed: embeds the images of all ranks, ``own`` of each.
            own: images that a rank embeds at a time.
            workers: decoding processes of a rank.
            log: gets lines on the progress.
            reporter: gets heartbeats, and says whether the run is to stop.

        Returns:
            Whether the file is complete; otherwise a rank was asked to stop.

        Raises:
            UserError: the file cannot be written, another run is writing it, or images cannot be read.
        """
        total, world, done = len(self._source), self._world, self._count_sound() if self._world.rank == 0 else 0
        with contextlib.ExitStack() as stack:
            file = None
            if world.rank == 0 and done < total:
                make_directory(self.path.parent, "--models_root")
                file = stack.enter_context(_open_alone(self.path))
                done = self._count_sound()  # another run may have gone on meanwhile
            done = int(world.share(np.array([done]))[0])
            if done:
                log.say(f"teacher: {done} of {total} embeddings are in {self.path}")
            if done < total:
                size = total * self._type.itemsize / 1e9
                log.say(f"teacher: embedding {total - done} images, once, for {self.path} of {size:.2f} GB")
                # Closed here, also after an exception, whose traceback may hold the generator and with it the workers.
                batches = stack.enter_context(contextlib.closing(self._embed_from(done, embed, own, workers)))
                for first, rows in batches:
                    reporter.heartbeat()
                    if file is not None:
                        _write(file, self.path, first * self._type.itemsize, self._make_records(first, rows))
                    if first * _LINES // total < (first + len(rows)) * _LINES // total:
                        log.say(f"teacher: {first + len(rows)} of {total} images")
                    if world.gather(np.array([reporter.stop_requested])).any():
                        return False
        world.barrier()
        self._records = np.memmap(self.path, self._type, "r", shape=(total,))
        return True

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """Return the rows of the images ``numbers``, int64 [B], as float32 [B, E].

        Raises:
            UserError: the file was damaged since it was opened.
        """
        found = self._records[numbers]
        wrong = found["check"] != self._checks(numbers, found["row"])
        if wrong.any():
            raise UserError(
                f"{self.path}: the embedding of image {numbers[wrong][0]} is damaged; start the run again, which makes "
                "it anew"
            )
        return np.ascontiguousarray(found["row"], np.float32)

    def _embed_from(self, start: int, embed: EmbedParts, own: int, workers: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the first number and the rows of each batch of images from ``start`` on; the last one is repeated."""
        source, world = self._source, self._world
        firsts = range(start, len(source), own * world.size)
        rest, waiting = iter(firsts), deque[np.ndarray]()
        reader = BatchReader(source, Augmentation(), own, workers)
        try:
            for first in firsts:
                while reader.free_slots > 0 and (ahead := next(rest, None)) is not None:
                    mine = ahead + world.rank * own + np.arange(own)
                    locations = source.locate(np.minimum(mine, len(source) - 1))
                    waiting.append(reader.request(locations, unchanged(own)))
                reader.collect()  # bad images are black; no step asks for their rows
                yield first, embed(waiting.popleft())[: len(source) - first]
        finally:
            reader.close()

    def _make_records(self, first: int, rows: np.ndarray) -> np.ndarray:
        records = np.empty(len(rows), self._type)
        records["row"] = rows
        records["check"] = self._checks(np.arange(first, first + len(rows)), records["row"])
        return records

    def _checks(self, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(rows)
        seeds = (zlib.crc32(self._mark + number.to_bytes(8, "little")) for number in numbers.tolist())
        return np.array([zlib.crc32(row, seed) for row, seed in zip(rows, seeds, strict=True)], np.uint32)

    def _count_sound(self) -> int:
        """Return how many records of the file are sound, from the first on."""
        if not self.path.is_file():
            return 0
        count = min(self.path.stat().st_size // self._type.itemsize, len(self._source))
        records = np.memmap(self.path, self._type, "r", shape=(count,)) if count else np.zeros(0, self._type)
        for first in range(0, count, _BLOCK):
            numbers = np.arange(first, min(count, first + _BLOCK))
            wrong = np.flatnonzero(records["check"][numbers] != self._checks(numbers, records["row"][numbers]))
            if len(wrong):
                return first + int(wrong[0])
        return count


def _open_alone(path: Path) -> IO[bytes]:
    """Return the file, which this process alone may write until it is closed; made if it is not there.

    Raises:
        UserError: it cannot be written, or another run is writing it.
    """
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise UserError(
                f"{path}: another run is writing these embeddings; wait for it, or use another --models_root"
            ) from error
        except OSError:  # some network file systems have no locks
            pass
        return file
    except OSError as error:
        raise _write_error(path, error) from error


def _write(file: IO[bytes], path: Path, place: int, records: np.ndarray) -> None:
    """Write ``records`` at the byte ``place``; the file is never cut, as other runs may read it.

    Raises:
        UserError: the disk is full.
    """
    try:
        file.seek(place)
        file.write(records.tobytes())
        file.flush()
    except OSError as error:
        raise _write_error(path, error) from error


def _write_error(path: Path, error: OSError) -> UserError:
    return UserError(f"{path} cannot be written ({error.strerror}); make room or use another --models_root")
