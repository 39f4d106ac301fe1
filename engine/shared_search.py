"""Search in a gallery that several ranks share, each with its own rows: SBP split(0), as class rows are."""

from __future__ import annotations

import numpy as np

from common.errors import require
from evaluation.search.kernel import ScoreKernel
from evaluation.search.search import best_matches, merge_matches
from launch.world import World


def best_shared_matches(
    world: World, kernel: ScoreKernel, probes: np.ndarray, shard: np.ndarray, k: int, is_unit: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return what ``best_matches`` returns for the whole gallery, on every rank. A collective call.

    Only the ranks' best matches are sent, P x k numbers each.

    Args:
        world: the ranks.
        kernel: computes the scores of this rank.
        probes: embeddings [P, E], the same on all ranks.
        shard: this rank's rows [g, E] of the gallery; those of the next rank follow. May be empty.
        k: matches of each probe, at most the rows of all ranks.
        is_unit: whether both are float32 rows of norm 1 already.

    Raises:
        UserError: a row is not finite, or ``k`` is out of range.
    """
    sizes = [int(message) for message in world.exchange(str(len(shard)).encode())]
    require(1 <= k <= sum(sizes), f"{k} matches of a gallery of {sum(sizes)}; expected 1 to {sum(sizes)}")
    message = b""
    if len(shard):
        scores, numbers = best_matches(kernel, probes, shard, min(k, len(shard)), is_unit)
        message = scores.tobytes() + (numbers + sum(sizes[: world.rank])).tobytes()
    arrays = []
    for part, size in zip(world.exchange(message), sizes, strict=True):
        count = min(k, size)
        scores = np.frombuffer(part, np.float32, len(probes) * count).reshape(len(probes), count)
        numbers = np.frombuffer(part, np.int64, len(probes) * count, scores.nbytes).reshape(len(probes), count)
        arrays.append((scores, numbers))
    return merge_matches(arrays, k)


class SharedScoreKernel:
    """A ``ScoreKernel`` whose gallery the ranks share: each scores its own rows, and all get the whole result.

    Every rank calls ``scan`` with the same arrays, and afterwards has the same results as a rank alone would have.
    """

    def __init__(self, world: World, kernel: ScoreKernel, smallest: int = 1024) -> None:
        """Share among the ranks of ``world``.

        Args:
            world: the ranks.
            kernel: computes this rank's scores.
            smallest: galleries with fewer rows are not worth a message; each rank scores all of them.
        """
        self._world, self._kernel, self._smallest = world, kernel, smallest

    def scan(
        self,
        probes: np.ndarray,
        gallery: np.ndarray,
        first_number: int = 0,
        best: tuple[np.ndarray, np.ndarray] | None = None,
        thresholds: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        histogram: np.ndarray | None = None,
        scores: np.ndarray | None = None,
    ) -> None:
        """Score probes with a gallery; see ``ScoreKernel``. A collective call."""
        if self._world.size == 1 or len(gallery) < self._smallest:
            self._kernel.scan(probes, gallery, first_number, best, thresholds, histogram, scores)
            return
        bounds = np.linspace(0, len(gallery), self._world.size + 1).astype(int)
        begin, end = bounds[self._world.rank : self._world.rank + 2].tolist()
        own_best = None if best is None else (np.full_like(best[0], -np.inf), np.full_like(best[1], -1))
        own_reached = None if thresholds is None else (*thresholds[:2], np.zeros_like(thresholds[2]))
        own_counts = None if histogram is None else np.zeros_like(histogram)
        own_scores = None if scores is None else np.empty((len(probes), end - begin), np.float32)
        if end > begin:
            shard = gallery[begin:end]
            self._kernel.scan(probes, shard, first_number + begin, own_best, own_reached, own_counts, own_scores)
        if best is not None:
            parts = [best, *zip(*(self._stack(array) for array in own_best), strict=True)]
            best[0][:], best[1][:] = merge_matches(parts, best[0].shape[1])
        if thresholds is not None:
            thresholds[2][:] += self._stack(own_reached[2]).sum(axis=0)
        if histogram is not None:
            histogram += self._stack(own_counts).sum(axis=0)
        if scores is not None:
            parts = self._world.exchange(own_scores.tobytes())
            for part, first, last in zip(parts, bounds, bounds[1:], strict=False):
                scores[:, first:last] = np.frombuffer(part, np.float32).reshape(len(probes), last - first)

    def _stack(self, local: np.ndarray) -> np.ndarray:
        """Return the arrays of all ranks, of one shape, [R, ...]."""
        return self._world.gather(local[None])
