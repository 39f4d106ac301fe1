"""The network of a snapshot or of another model that this project reads, in OneFlow with this project's kernels."""

from __future__ import annotations

from deploy.runtimes.loaded import Loaded
from interchange.embedders import oneflow_embedder
from interchange.open_model import open_model


def load(path: str, size: int, threads: int) -> Loaded:
    """Load a model; the number of threads comes from the environment of the process."""
    model = open_model(path)
    return Loaded(oneflow_embedder(model.network, model.arrays))
