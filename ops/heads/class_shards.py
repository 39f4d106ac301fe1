"""Distribute class rows over ranks: ceil(C / R) rows each, with padding on the last ranks."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

_CHUNK = 4096
_PURPOSE = 0x66633720  # separates these draws from others with the same seed


@dataclass(frozen=True)
class ClassShards:
    """Rows 0..num_classes-1 in ``shards`` equal pieces; rows beyond num_classes are padding without a class."""

    num_classes: int
    shards: int

    @property
    def rows(self) -> int:
        """Rows per shard, padding included."""
        return -(-self.num_classes // self.shards)

    @property
    def padded(self) -> int:
        """Rows of all shards together, padding included."""
        return self.rows * self.shards

    def real_rows(self, shard: int) -> tuple[int, int]:
        """Return the first class of ``shard`` and the one after its last; equal when it holds padding only."""
        start = min(shard * self.rows, self.num_classes)
        return start, min(start + self.rows, self.num_classes)


def initial_class_rows(seed: int, start: int, stop: int, emb_size: int, out: np.ndarray | None = None) -> np.ndarray:
    """Return rows ``start``..``stop``-1 of the initial fc7 weight, float32 [stop - start, emb_size] ~ Normal(0, 0.01).

    A row depends only on (seed, its number), so the weight is the same on any number of ranks. The rows are written
    to ``out`` if it is given. Uses all cores.
    """
    rows = np.empty((stop - start, emb_size), np.float32) if out is None else out

    def draw(chunk: int, low: int, high: int) -> None:
        own, first = rows[low - start : high - start], chunk * _CHUNK
        generator = np.random.Generator(np.random.Philox(key=[seed, chunk], counter=[0, 0, 0, _PURPOSE]))
        if high - low == _CHUNK and rows.flags.c_contiguous:
            generator.standard_normal(out=own, dtype=np.float32)
        else:
            own[:] = generator.standard_normal((_CHUNK, emb_size), np.float32)[low - first : high - first]
        own *= 0.01

    _for_each_chunk(start, stop, draw)
    return rows


def write_initial_rows(
    seed: int, start: int, stop: int, emb_size: int, write: Callable[[np.ndarray, slice], None]
) -> None:
    """Hand ``initial_class_rows`` to ``write`` piece by piece, from several threads; no array holds all of them.

    ``write`` takes float32 rows and their numbers, counted from ``start``.
    """

    def draw(chunk: int, low: int, high: int) -> None:
        write(initial_class_rows(seed, low, high, emb_size), slice(low - start, high - start))

    _for_each_chunk(start, stop, draw)


def _for_each_chunk(start: int, stop: int, draw: Callable[[int, int, int], None]) -> None:
    """Call ``draw(chunk, low, high)`` for the rows low..high - 1 of each chunk between ``start`` and ``stop``."""
    chunks = range(start // _CHUNK, -(-stop // _CHUNK))
    edges = [(chunk, max(start, chunk * _CHUNK), min(stop, (chunk + 1) * _CHUNK)) for chunk in chunks]
    if len(edges) == 1:
        draw(*edges[0])
        return
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(draw, *zip(*edges, strict=True)) if edges else ())
