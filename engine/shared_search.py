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
