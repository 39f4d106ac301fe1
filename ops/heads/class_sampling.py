"""Sample the class rows of a step of Partial FC (An et al., arXiv:2010.05222, arXiv:2203.15565).

Each shard selects all classes of the batch that it holds and fills up its share of rows with others, drawn uniformly.
Draws are a function of (seed, step, shard): a resumed run repeats them, and the shards need no communication.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ops.heads.class_shards import ClassShards

_PURPOSE = 0x70666320  # separates these draws from others with the same seed
ABSENT = -1
_SPARSE = 64  # below 1 row in so many, a sorted list is faster than a mark for each row


@dataclass(frozen=True)
class ClassSampling:
    """The sampling of class rows at ``ratio`` in (0, 1] with at most ``batch_size`` images a step, over all ranks."""

    shards: ClassShards
    ratio: float
    batch_size: int
    seed: int

    @property
    def slots(self) -> int:
        """Slots for sampled rows on each shard: enough for its share, and for a batch that holds only its classes."""
        rows = self.shards.rows
        return max(math.ceil(self.ratio * rows), min(self.batch_size, rows))

    @property
    def samples_all_classes(self) -> bool:
        """Whether every step uses all rows; a class's slot is then its number."""
        return self.ratio == 1

    def draw(self, shard: int, labels: np.ndarray, step: int) -> np.ndarray:
        """Return the rows of ``shard`` in the sample of ``step``, numbered from its first row, int64, ascending.

        Args:
            shard: the shard to sample from.
            labels: classes of the whole batch, int [B].
            step: number of the step.

        They include the classes of the batch. Their number is ceil(ratio * real rows of the shard), or more if the
        batch alone has more; padding rows are never among them.
        """
        start, stop = self.shards.real_rows(shard)
        rows = stop - start
        own = np.unique(labels[(labels >= start) & (labels < stop)].astype(np.int64) - start)
        generator = np.random.Generator(np.random.Philox(key=[self.seed, step], counter=[0, 0, shard, _PURPOSE]))
        wanted = max(len(own), math.ceil(self.ratio * rows))
        if wanted * _SPARSE < rows:
            return _add(own, wanted, rows, generator)
        chosen = np.zeros(rows, bool)
        chosen[own] = True
        if wanted - len(own) <= rows - wanted:
            _mark(chosen, wanted - len(own), generator)
        else:  # fewer rows are omitted than selected
            out = chosen.copy()
            _mark(out, rows - wanted, generator)
            chosen |= ~out
        return np.flatnonzero(chosen)

    def slots_of(self, shard: int, sampled: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return the slot of each label of the batch among the slots of all shards, int32 [B].

        The slots of shard i are ``slots * i`` and up, in the order of ``sampled``, what ``draw`` returned for
        ``shard``. Labels of other shards are ABSENT.
        """
        start, stop = self.shards.real_rows(shard)
        places = shard * self.slots + np.searchsorted(sampled, labels - start)
        return np.where((labels >= start) & (labels < stop), places, ABSENT).astype(np.int32)


def _add(chosen: np.ndarray, count: int, rows: int, generator: np.random.Generator) -> np.ndarray:
    """Return ``count`` numbers below ``rows``, ascending: those ``chosen``, and those that ``_mark`` would draw."""
    while len(chosen) < count:
        drawn = generator.integers(0, rows, count - len(chosen), np.int32)
        chosen = np.union1d(chosen, drawn.astype(np.int64))
    return chosen


def _mark(marks: np.ndarray, count: int, generator: np.random.Generator) -> None:
    """Set ``count`` of the False entries of ``marks``, uniformly drawn.

    Draw with replacement until ``count`` new positions are marked; repeats are ignored. The caller makes sure that at
    least half of the entries stay unmarked, which keeps this fast.
    """
    target = np.count_nonzero(marks) + count
    while count:
        marks[generator.integers(0, len(marks), count, np.int32)] = True
        count = target - np.count_nonzero(marks)
