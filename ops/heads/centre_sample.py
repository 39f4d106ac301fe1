"""Takes an even sample of the class centres, small enough to look at often."""

from __future__ import annotations

import numpy as np

from ops.heads.base import ClassHead, Ranks

SAMPLE = 1024  # centres, over all ranks


def sample_centres(head: ClassHead, ranks: Ranks) -> np.ndarray:
    """Return at most ``SAMPLE`` centres, float32 [N, E], the same on every rank. A collective call."""
    layout = head.shards
    start, stop = layout.real_rows(head.shard)
    real = (stop - start) * head.centres
    count = min(max(1, SAMPLE // layout.shards), layout.rows * head.centres)
    sample = np.full((count, head.emb_size), np.nan, np.float32)  # a shard may have fewer real rows
    if real:
        chosen = np.unique(np.linspace(0, real - 1, count).round().astype(np.int64))
        sample[: len(chosen)] = head.read_centres(chosen)
    centres = ranks.gather(sample) if layout.shards > 1 else sample
    return centres[~np.isnan(centres[:, 0])]
