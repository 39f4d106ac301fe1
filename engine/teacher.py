"""The teacher of a run: its embeddings of this rank's images, computed in each step or read from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from backbones.execution.backbone import Backbone
from data.loading.batches import Batch
from data.sources.base import ImageSource
from engine.embedder import Embedder
from engine.log import RunLog
from engine.teacher_cache import TeacherCache, fingerprint
from interchange.open_model import TrainedModel
from launch.rank import RankReporter
from launch.world import World
from ops import flow
from settings.places import teacher_directory
from settings.precision import layers_without_kernels


class Teacher:
    """A trained network in inference mode, over all ranks, by the same op as verification.

    With ``use_bf16`` it computes in bfloat16 too, where the kernels have all its layers. With ``teacher_cache`` it sees
    unchanged images, each once, and the rows of a step are read from a file (``engine.teacher_cache``).
    """

    def __init__(self, model: TrainedModel, config: Mapping[str, Any], world: World) -> None:
        """Take the model of ``engine.teacher_model``; ``config`` is complete."""
        self._world = world
        self._model: TrainedModel | None = model  # until its arrays are in the backbone
        self._own = config["train_batch_size"] // world.size // config["gradient_accumulation"]
        self._bfloat16 = bool(config["use_bf16"]) and not layers_without_kernels(model.network)
        self._native = bool(config["native_ops"])
        self._embed: Embedder | None = None
        self._cache: TeacherCache | None = None

    def open_cache(self, config: Mapping[str, Any], source: ImageSource, log: RunLog, reporter: RankReporter) -> bool:
        """Compute the embeddings of all images unless a file has them. A collective call.

        Returns:
            Whether the file is complete; otherwise a rank was asked to stop, and the next run continues the file.

        Raises:
            UserError: the file cannot be written, another run is writing it, or the images cannot be read.
        """
        mark = fingerprint(self._model, source, f"native {self._native}, bfloat16 {self._bfloat16}")
        length = self._model.network.embedding_size
        self._cache = TeacherCache(teacher_directory(config), mark, source, length, self._world)
        is_complete = self._cache.fill(self._embed_parts, self._own, config["num_workers"], log, reporter)
        self._embed = self._model = None  # their memory is free again
        return is_complete

    def embed(self, batch: Batch) -> np.ndarray:
        """Return the embeddings of this rank's images, float32 [b, E]. A collective call without a cache.

        Raises:
            UserError: the file was damaged meanwhile.
        """
        if self._cache is not None:
            return self._cache.read(batch.indices)
        starts, first = range(0, len(batch.images), self._own), self._world.rank * self._own
        pieces = (self._embed_parts(batch.images[start : start + self._own]) for start in starts)
        return np.concatenate([piece[first : first + self._own] for piece in pieces])

    def _embed_parts(self, mine: np.ndarray) -> np.ndarray:
        """Return the embeddings of all ranks' images, of which ``mine`` are this rank's. A collective call."""
        if self._embed is None:
            model, self._model = self._model, None
            backbone = Backbone(model.network, model.arrays, self._native, self._bfloat16)
            backbone = backbone.to_global(self._world.placement, flow.sbp.broadcast)
            self._embed = Embedder(backbone, self._world, self._own * self._world.size, is_constant=True)
        return self._embed.embed_parts(mine)
