"""A trained backbone as a function from images to embeddings, over all ranks."""

from __future__ import annotations

import numpy as np

from backbones.execution.backbone import Backbone
from launch.world import World
from ops import flow


class EmbedGraph(flow.nn.Graph):
    """Images uint8 split(0), as the backbone takes them, to embeddings [B, E] float32 broadcast, in inference mode."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def build(self, images: flow.Tensor) -> flow.Tensor:
        """Return the embeddings on every rank."""
        return self.backbone(images).to_global(sbp=flow.sbp.broadcast)


class Embedder:
    """A function uint8 [N, 3, S, S] -> float32 [N, E] over all ranks; every rank calls it with the same images.

    Batches are padded to a multiple of the number of ranks and to one static shape.
    """

    def __init__(self, backbone: Backbone, world: World, batch_size: int) -> None:
        """``batch_size`` is that of all ranks together; it is rounded up to a multiple of their number."""
        self._backbone = backbone
        self._world = world
        self._per_rank = -(-batch_size // world.size)
        self.batch_size = self._per_rank * world.size
        self._graph: EmbedGraph | None = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Embed up to ``batch_size`` images. A collective call."""
        count = len(images)
        if count < self.batch_size:
            images = np.concatenate([images, np.zeros((self.batch_size - count, *images.shape[1:]), images.dtype)])
        mine = images[self._world.rank * self._per_rank : (self._world.rank + 1) * self._per_rank]
        return self.embed_parts(np.ascontiguousarray(mine))[:count].copy()

    def embed_parts(self, mine: np.ndarray) -> np.ndarray:
        """Return the embeddings of all ranks' images, ``mine`` being this rank's equal part. A collective call."""
        training = self._backbone.training
        self._backbone.eval()
        if self._graph is None:
            self._graph = EmbedGraph(self._backbone)
        with flow.no_grad():
            result = self._backbone.run_graph(self._graph, self._world.split(mine)).to_local().numpy()
        self._backbone.train(training)
        return result
