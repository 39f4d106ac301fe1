"""Takes an even sample of the class centres, small enough to look at often."""

from __future__ import annotations

import numpy as np

from ops import flow
from ops.heads.base import ClassHead, Ranks
from ops.runtime.tensors import local_view

SAMPLE = 1024  # centres, over all ranks


def sample_centres(head: ClassHead, ranks: Ranks) -> np.ndarray:
    """Return at most ``SAMPLE`` centres, float32 [N, E], the same on every rank. A collective call."""
    layout = head.shards
    start, stop = layout.real_rows(head.shard)
    real = (stop - start) * head.centres
    count = min(max(1, SAMPLE // layout.shards), layout.rows * head.centres)
    sample = np.full((count, int(head.weight.shape[1])), np.nan, np.float32)  # a shard may have fewer real rows
    if real:
        chosen = np.unique(np.linspace(0, real - 1, count).round().astype(np.int64))
        local = local_view(head.weight)
        sample[: len(chosen)] = flow._C.gather(local, flow.tensor(chosen, device=local.device), axis=0).numpy()
    centres = ranks.gather(sample) if layout.shards > 1 else sample
    return centres[~np.isnan(centres[:, 0])]
