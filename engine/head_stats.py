"""How the class centres lie: lengths and angles of an even sample of them, cheap enough to be looked at often."""

from __future__ import annotations

import numpy as np

from evaluation.similarity import cosine_similarity_matrix
from launch.world import World
from ops import flow
from ops.heads.base import ClassHead
from ops.runtime.tensors import local_view

SAMPLE = 1024  # centres, over all ranks


def head_statistics(head: ClassHead, world: World) -> dict[str, float]:
    """Return statistics of at most ``SAMPLE`` centres, the same on every rank. A collective call.

    ``norm_mean``, ``norm_std``, ``norm_min`` and ``norm_max``; ``angle_mean``, in degrees, of all pairs in the sample;
    ``nearest_mean`` and ``nearest_min``, in degrees, of each centre's nearest one.
    """
    layout = head.shards
    start, stop = layout.real_rows(head.shard)
    real = (stop - start) * head.centres
    count = min(max(1, SAMPLE // layout.shards), layout.rows * head.centres)
    sample = np.full((count, int(head.weight.shape[1])), np.nan, np.float32)  # a shard may have fewer real rows
    if real:
        chosen = np.unique(np.linspace(0, real - 1, count).round().astype(np.int64))
        local = local_view(head.weight)
        sample[: len(chosen)] = flow._C.gather(local, flow.tensor(chosen, device=local.device), axis=0).numpy()
    centres = world.gather(sample) if layout.shards > 1 else sample
    return describe_centres(centres[~np.isnan(centres[:, 0])])


def describe_centres(centres: np.ndarray) -> dict[str, float]:
    """Return the statistics of ``centres`` [N, E]; angles need two of them."""
    norms = np.linalg.norm(centres, axis=1)
    values = {"norm_mean": norms.mean(), "norm_std": norms.std(), "norm_min": norms.min(), "norm_max": norms.max()}
    if len(centres) > 1:
        angles = np.degrees(np.arccos(cosine_similarity_matrix(centres, centres)))
        np.fill_diagonal(angles, np.nan)
        nearest = np.nanmin(angles, axis=1)
        values |= {"angle_mean": np.nanmean(angles), "nearest_mean": nearest.mean(), "nearest_min": nearest.min()}
    return {name: float(value) for name, value in values.items()}
