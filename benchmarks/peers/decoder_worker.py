"""The bare decoder: simplejpeg called in a loop on JPEGs in memory; images are discarded. No loader can be faster."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import simplejpeg

from benchmarks.peers.protocol import Contestant, serve
from data.ofrecord.records import decode_train_record, list_parts, read_part


def decode_for(seconds: float, images: Iterator[bytes]) -> tuple[float, float]:
    """Decode for about ``seconds``; return the images per second and per second of processor time."""
    start, used, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        for encoded in itertools.islice(images, 64):
            simplejpeg.decode_jpeg(encoded)
        count += 64
    return count / (time.perf_counter() - start), count / (time.process_time() - used)


def _report(images: Iterator[bytes], seconds: float, connection: Connection) -> None:
    connection.send(decode_for(seconds, images))


class Decoder(Contestant):
    """Decodes all images of the set in a loop, with one independent process per core."""

    def __init__(self, job: dict[str, Any]) -> None:
        parts = list_parts(job["parts"])
        self._encoded = [decode_train_record(payload)[0] for part in parts for _, payload in read_part(part)]
        self._images = itertools.cycle(self._encoded)
        self._batch, self._processes = job["size"], job["threads"]
        self.label = "bare decoder"

    def step(self) -> list[float]:
        """Decode one batch."""
        for encoded in itertools.islice(self._images, self._batch):
            simplejpeg.decode_jpeg(encoded)
        return []

    def check(self, steps: int) -> list[float]:
        """Return the mean pixel of all images."""
        images = map(simplejpeg.decode_jpeg, self._encoded)
        return [float(np.mean([image.mean(dtype=np.float64) for image in images]))]

    def measure(self, seconds: float) -> list[float]:
        """Return the mean wall seconds and the mean processor seconds per batch."""
        connections = []
        for _ in range(self._processes - 1):
            ours, theirs = Pipe(duplex=False)
            get_context("fork").Process(target=_report, args=(self._images, seconds, theirs)).start()
            connections.append(ours)
        speeds = [decode_for(seconds, self._images), *(connection.recv() for connection in connections)]
        together, each = (sum(column) for column in zip(*speeds, strict=True))
        return [self._batch / together, self._batch / (each / self._processes)]


if __name__ == "__main__":
    serve(Decoder)
