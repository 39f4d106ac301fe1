"""The network of a snapshot or of another model that this project reads, in OneFlow with this project's kernels."""

from __future__ import annotations

from typing import Any

from deploy.runtimes.loaded import Loaded
from interchange.embedders import oneflow_embedder
from interchange.image_input import InputFlags
from interchange.open_model import open_model


def load(path: str, size: int, threads: int, **flags: Any) -> Loaded:
    """Load a model; the number of threads comes from the environment of the process.

    ``flags`` are those of ``InputFlags`` for a model of another program.
    """
    model = open_model(path, InputFlags(**flags))
    return Loaded(oneflow_embedder(model.network, model.arrays))
